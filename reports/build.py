"""From the ledger to boards, and from sweeps to their files."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import console
from harness.ledger import Run, open_ledger
from harness.spec import MULTI
from methods.kit.errors import UsageError
from reports.table import Board, boards, pick

if TYPE_CHECKING:
    from reports.studies import Results
    from reports.sweep import Sweep


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


def affinities(found: list[Board], best: bool, folder: Path, uri: str | None) -> list[Path]:
    """The affinity of the tasks of each board of multi_task, as files."""
    from reports import affinity, again, stamp

    several = [board for board in found if board.protocol == MULTI]
    paths = []
    for board in several:
        table = affinity.table(board, open_ledger(uri).tables)
        if table.empty:
            continue
        place = folder if len(several) == 1 else folder / f"{board.protocol}-{board.backbone}"
        tables = again.affinities(board, best, affinity.csv(table))
        paths += stamp.write(tables, place, affinity.draw(board, table, place))
    return paths


def sweep(
    name: str, folder: Path, uri: str | None, shown: bool, keys: str | None, best: str | None
) -> list[Path]:
    """All files of a sweep or contest; a contest's table and a table of best values are shown."""
    from reports import stamp, studies, tuned
    from reports import sweep as sweeps

    facts = sweeps.facts_of(name)
    if facts["kind"] == "contest":
        if keys or best:
            raise UsageError("--map and --best: go with one sweep of the contest")
        return _contest(facts, folder, uri, shown)
    found, wanted = sweeps.read(name), studies.Wanted(keys, best)
    parts = studies.parts(found, wanted)
    tables = tuned.of_sweep(found, wanted, parts, _runs(found, uri))
    paths = stamp.write(tables, folder, studies.draw(parts, folder))
    if shown:
        _show_best(found, best)
    return paths


def _contest(facts: dict[str, Any], folder: Path, uri: str | None, shown: bool) -> list[Path]:
    from reports import stamp, studies, tuned
    from reports import sweep as sweeps

    ledger = open_ledger(uri)
    runs = list(ledger.runs())
    found = studies.results(facts, runs, cache(ledger.predictions))
    parts = [sweeps.read(part) for part in sweeps.parts(facts)]
    curves = studies.contest_curves(facts, parts)
    if shown:
        _show_contest(facts["name"], found)
    tables = tuned.of_contest(facts, parts, found, curves, runs)
    return stamp.write(tables, folder, studies.draw([curves], folder))


def _runs(sweep: "Sweep", uri: str | None) -> list[Run]:
    """The runs of a sweep's trials; no ledger is opened for a sweep that knows none."""
    return list(open_ledger(uri).runs()) if sweep.digests else []


def _show_best(sweep: "Sweep", word: str | None) -> None:
    """Print the best value of a key for each setting of the others, where there is one."""
    from reports import sweep as sweeps

    key = sweeps.best_key(sweep, word)
    if key is None:
        return
    table = sweeps.best_table(sweep, key)
    rows = [[sweeps.plain(v) for v in row] for row in table.to_numpy(dtype=object)]
    place = list(table.columns).index(key)
    for row in rows:
        row[place] = f"{row[place]:g}" if isinstance(row[place], float) else row[place]
        row[-2] = "-" if row[-2] != row[-2] else row[-2]  # only one value was tried
    console.table(list(table.columns), rows, f"{sweep.name}: best {key}")


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
    name: str, cost: str | None, quality: str | None, folder: Path, uri: str | None, as_json: bool
) -> None:
    """Draw and show the front of a sweep."""
    from reports import stamp, studies, tuned
    from reports import sweep as sweeps

    found = sweeps.read(name)
    cost, quality = cost or found.cost, quality or found.quality
    part = studies.front(found, "pareto", cost, quality)
    tables = tuned.of_front(found, cost, quality, part, _runs(found, uri))
    paths = stamp.write(tables, folder, studies.draw([part], folder))
    table = part.table
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
