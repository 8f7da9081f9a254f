"""The winners of a contest, each compared with the one that was named first."""

from functools import cache
from typing import Any

from harness.ledger import open_ledger
from reports import compare
from reports.compare import Comparison
from reports.select import Entrant, title
from reports.table import ACCURACY, frame


def comparisons(facts: dict[str, Any], uri: str | None) -> list[Comparison]:
    """Paired on the same data sets, fresh seeds and images; empty below two tested winners."""
    ledger = open_ledger(uri)
    table = frame(ledger.runs())
    table = table[table["finished"]]
    entrants = [_entrant(m, table[table["digest"].isin(m["digests"])]) for m in facts["methods"]]
    there = [e for e in entrants if not e.rows.empty]
    if len(there) < 2 or entrants[0].rows.empty:
        return []
    metric = ACCURACY[facts["protocol"]][-1]
    return compare.compare(there, there[0], metric, cache(ledger.predictions))


def _entrant(said: dict[str, Any], rows: Any) -> Entrant:
    method, label = said["method"], said["label"]
    return Entrant(method, label, title(method, label.removeprefix(method).strip()), rows)
