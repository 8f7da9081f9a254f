"""From the ledger to boards, and from sweeps to their files."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from harness import console
from harness.ledger import open_ledger
from harness.spec import MULTI
from methods.kit.errors import UsageError, unknown
from reports import select
from reports.table import ACCURACY, Board, boards, frame, pick

if TYPE_CHECKING:
    from reports.compare import Comparison
    from reports.studies import Results


@dataclass(frozen=True)
class Asked:
    """What a person asked to compare, as typed."""

    names: tuple[str, ...]
    baseline: str | None = None
    protocol: str | None = None
    backbone: str | None = None
    data: str | None = None
    metric: str | None = None
    best: bool = False
    every: bool = False


def collect(
    uri: str | None, protocol: str | None, backbone: str | None, best: bool = False
) -> list[Board]:
    """The boards of the ledger that were asked for, with ``best`` a row a method.

    Raises UsageError when there is none.
    """
    return pick(boards(open_ledger(uri).runs(), best), protocol, backbone)


def show(found: list[Board]) -> None:
    """Print boards with what their columns mean."""
    from reports import friedman, leaderboard

    for board in found:
        console.table(*leaderboard.shown(board), leaderboard.title(board), leaderboard.OPTIONAL)
        for note in (*board.notes, *leaderboard.legend(board)):
            console.say(f"  {note}")
        ranking = friedman.ranking(friedman.scores(board))
        if ranking is not None:
            console.say(f"  {friedman.sentence(ranking)}")


def show_published(uri: str | None, found: list[Board]) -> None:
    """What papers report of the configurations on the boards, if anything."""
    from reports import published

    shown = {(board.protocol, board.backbone) for board in found}
    theirs = [
        b
        for b in published.beside(open_ledger(uri).runs())
        if (b.theirs.protocol, b.theirs.backbone) in shown
    ]
    if theirs:
        cells = published.coloured(published.rows(theirs))
        console.table(published.HEADS, cells, "ours beside published numbers", ("source", "by"))


def only(found: list[Board]) -> Board:
    """The single board of a picture. Raises UsageError when there are several to choose from."""
    if len(found) > 1:
        there = "; ".join(f"--protocol {b.protocol} --backbone {b.backbone}" for b in found)
        raise UsageError(f"several comparisons are recorded, choose one: {there}")
    return found[0]


def affinities(found: list[Board], folder: Path, uri: str | None) -> list[Path]:
    """The affinity of the tasks of each board of multi_task, as files."""
    from reports import affinity

    several = [board for board in found if board.protocol == MULTI]
    paths = []
    for board in several:
        place = folder if len(several) == 1 else folder / f"{board.protocol}-{board.backbone}"
        paths += affinity.write(board, open_ledger(uri).tables, place)
    return paths


def sweep(
    name: str, folder: Path, uri: str | None, shown: bool, keys: str | None, best: str | None
) -> list[Path]:
    """All files of a sweep or contest; a contest's table and a table of best values are shown."""
    from reports import studies
    from reports import sweep as sweeps

    facts = sweeps.facts_of(name)
    if facts["kind"] == "contest":
        if keys or best:
            raise UsageError("--map and --best: go with one sweep of the contest")
        results = studies.results(facts, uri)
        if shown:
            _show_contest(name, results)
        return studies.write_contest(facts, results, folder)
    paths = studies.write(name, folder, studies.Wanted(keys, best))
    if shown:
        found = sweeps.read(name)
        key = sweeps.best_key(found, best)
        if key is not None:
            table = sweeps.best_table(found, key)
            rows = [[sweeps.plain(v) for v in row] for row in table.to_numpy(dtype=object)]
            place = list(table.columns).index(key)
            for row in rows:
                row[place] = f"{row[place]:g}" if isinstance(row[place], float) else row[place]
                row[-2] = "-" if row[-2] != row[-2] else row[-2]  # only one value was tried
            console.table(list(table.columns), rows, f"{name}: best {key}")
    return paths


def _show_contest(name: str, found: "Results") -> None:
    """Print the leaderboard of the winners, and each against the first."""
    from reports import comparing

    show(found.boards)
    if found.against:
        title = f"{name}: against {found.against[0].paired.b.name}"
        console.table(comparing.HEADS, comparing.rows(found.against), title, comparing.OPTIONAL)
        for note in comparing.legend(found.against):
            console.say(f"  {note}")


def front_of_sweep(
    name: str, cost: str | None, quality: str | None, folder: Path, as_json: bool
) -> None:
    """Draw and show the front of a sweep."""
    from reports import studies
    from reports import sweep as sweeps

    found = sweeps.read(name)
    cost, quality = cost or found.cost, quality or found.quality
    paths = studies.front(found, folder, "pareto", cost, quality)
    table = sweeps.front_table(found, cost, quality)
    best = table[table["front"]].sort_values(cost)
    if as_json:
        console.as_json(
            [{k: sweeps.plain(v) for k, v in r.items()} for r in best.to_dict("records")]
        )
        return
    heads = ["number", cost, quality, *found.keys]
    shown = [best[h].map(sweeps.plain) for h in heads[:3]]
    shown += [best[k].map(lambda v: f"{v:.4g}" if isinstance(v, float) else v) for k in found.keys]
    rows = [list(row) for row in zip(*shown, strict=True)]
    console.table(["trial", *heads[1:]], rows, f"{name}: front of {len(table)} complete trials")
    console.say("written: " + ", ".join(str(p) for p in paths))


def comparison(asked: Asked, uri: str | None) -> tuple[list["Comparison"], str]:
    """The comparisons asked for, and a title. Raises UsageError."""
    from reports import compare

    if asked.best and asked.every:
        raise UsageError("--best and --all exclude each other")
    names = list(asked.names)
    if asked.baseline is not None and asked.baseline not in names:
        names.append(asked.baseline)
    ledger = open_ledger(uri)
    table = _of_one_kind(frame(ledger.runs()), asked, [select.method_of(n) for n in names])
    protocol, backbone = str(table["protocol"].iloc[0]), str(table["backbone"].iloc[0])
    metric = asked.metric or ACCURACY[protocol][-1]
    known = sorted(c for c in table.columns if c.startswith("acc/") and table[c].notna().any())
    if metric not in known:
        raise unknown(f"metric {metric!r}", metric, known)
    several: select.Several = "best" if asked.best else "all" if asked.every else "refuse"
    entrants = select.find(table, names, several)
    base = [] if asked.baseline is None else select.find(table, [asked.baseline], several)
    if len(base) > 1:
        raise UsageError(f"--baseline {asked.baseline!r} has several configurations; name one")
    if len(entrants) < 2:
        raise UsageError("compare: name at least two methods, or one with several --all")
    ours = next((e for e in entrants if base and e.rows.index.equals(base[0].rows.index)), None)
    found = compare.compare(entrants, ours, metric, cache(ledger.predictions))
    return found, f"{protocol} on {backbone}, {metric}"


def _of_one_kind(table: pd.DataFrame, asked: Asked, methods: list[str]) -> pd.DataFrame:
    """The finished runs of one protocol and backbone that has all methods. Raises UsageError."""
    table = table[table["finished"]]
    for column, wanted in (("protocol", asked.protocol), ("backbone", asked.backbone)):
        if wanted is not None:
            known = set(table[column])
            table = table[table[column] == wanted]
            if table.empty:
                raise unknown(f"--{column} {wanted!r} in the finished runs", wanted, known)
    for method in methods:
        if method not in set(table["method"]):
            known = set(table["method"])
            raise unknown(f"method {method!r} in the finished runs", method, known)
    kinds = [
        (kind, part)
        for kind, part in table.groupby(["protocol", "backbone"])
        if set(methods) <= set(part["method"])
    ]
    if len(kinds) != 1:
        listed = "; ".join(f"--protocol {p} --backbone {b}" for (p, b), _ in kinds)
        raise UsageError(
            f"these methods were compared in several ways, choose one: {listed}"
            if kinds
            else "these methods have no runs with the same protocol and backbone"
        )
    found: pd.DataFrame = kinds[0][1]
    return found if asked.data is None else _on(found, asked.data.split(","))


def _on(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    there = set(table["dataset"])
    for name in names:
        if name not in there:
            raise unknown(f"--data {name!r} in the finished runs", name, there)
    return table[table["dataset"].isin(names)]
