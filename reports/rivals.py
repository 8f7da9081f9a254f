"""The winners of a contest, each compared with the one that was named first."""

from collections.abc import Iterable
from typing import Any

from harness.ledger import Run
from reports import compare
from reports.compare import Comparison
from reports.images import Fetch
from reports.select import Entrant, title
from reports.table import ACCURACY, frame


def comparisons(facts: dict[str, Any], runs: Iterable[Run], fetch: Fetch) -> list[Comparison]:
    """Paired on the same data sets, fresh seeds and images; empty below two tested winners."""
    table = frame(runs)
    table = table[table["finished"]]
    entrants = [_entrant(m, table[table["digest"].isin(m["digests"])]) for m in facts["methods"]]
    there = [e for e in entrants if not e.rows.empty]
    if len(there) < 2 or entrants[0].rows.empty:
        return []
    return compare.compare(there, there[0], ACCURACY[facts["protocol"]][-1], fetch)


def _entrant(said: dict[str, Any], rows: Any) -> Entrant:
    method, label = said["method"], said["label"]
    return Entrant(method, label, title(method, label.removeprefix(method).strip()), rows)
