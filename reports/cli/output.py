"""From the ledger to boards, and from sweeps to their files."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli import console
from harness.spec.spec import MULTI_TASK
from harness.tracking.ledger import open_ledger
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.results.board import Board, boards, select_boards

if TYPE_CHECKING:
    from reports.provenance.sweep_tables import EqualBudgetResults
    from reports.results.sweeps import Sweep


def collect_boards(
    uri: str | None, protocol: str | None, backbone: str | None, best: bool = False
) -> list[Board]:
    """The boards of the ledger that were asked for, with ``best`` a row a method.

    Raises UsageError when there is none.
    """
    return select_boards(boards(open_ledger(uri).runs(), best), protocol, backbone)


def print_boards(found: list[Board]) -> None:
    """Print boards with what their columns mean."""
    from reports.analyses import distributions
    from reports.results.board import board_title
    from reports.statistics import friedman
    from reports.tables import leaderboard

    for board in found:
        console.table(
            *leaderboard.visible_table(board), board_title(board), leaderboard.OPTIONAL_COLUMNS
        )
        for note in (*board.notes, *leaderboard.board_notes(board)):
            console.say(f"  {note}")
        ranking = friedman.friedman_ranking(distributions.scores_by_dataset(board))
        if ranking is not None:
            console.say(f"  {friedman.friedman_sentence(ranking)}")


def print_published(uri: str | None, found: list[Board]) -> None:
    """What papers report of the configurations on the boards, if anything."""
    from reports.published import numbers

    shown = {(board.protocol, board.backbone) for board in found}
    theirs = [
        b
        for b in numbers.match_published(open_ledger(uri).runs())
        if (b.theirs.protocol, b.theirs.backbone) in shown
    ]
    if theirs:
        cells = numbers.coloured_cells(numbers.match_rows(theirs))
        console.table(
            numbers.MATCH_COLUMNS, cells, "ours beside published numbers", ("source", "by")
        )


def single_board(found: list[Board]) -> Board:
    """The single board of a picture. Raises UsageError when there are several to choose from."""
    if len(found) > 1:
        there = "; ".join(f"--protocol {b.protocol} --backbone {b.backbone}" for b in found)
        raise UsageError(f"several comparisons are recorded, choose one: {there}")
    return found[0]


def write_affinities(found: list[Board], best: bool, folder: Path, uri: str | None) -> list[Path]:
    """The affinity of the tasks of each board of multi_task, as files."""
    from reports.analyses import task_affinity
    from reports.figures.task_affinity import write_affinity
    from reports.provenance import manifest, rebuild

    several = [board for board in found if board.protocol == MULTI_TASK]
    paths = []
    for board in several:
        table = task_affinity.affinity_table(board, open_ledger(uri).tables)
        if table.empty:
            continue
        place = folder if len(several) == 1 else folder / f"{board.protocol}-{board.backbone}"
        tables = rebuild.affinity_tables(board, best, task_affinity.affinity_csv(table))
        paths += manifest.write_manifest(tables, place, write_affinity(board, table, place))
    return paths


def write_sweep(
    name: str, folder: Path, uri: str | None, shown: bool, keys: str | None, best: str | None
) -> list[Path]:
    """All files of a sweep or contest; a contest's table and a table of best values are shown."""
    from reports.provenance import manifest, sweep_tables
    from reports.results import sweeps

    facts = sweeps.facts_of(name)
    if facts["kind"] == "contest":
        if keys or best:
            raise UsageError("--map and --best: go with one sweep of the contest")
        return _contest(facts, folder, uri, shown)
    found, wanted = sweeps.read_sweep(name), sweep_tables.SweepRequest(keys, best)
    parts = sweep_tables.sweep_parts(found, wanted)
    tables = sweep_tables.sweep_report(found, wanted, parts, _runs(found, uri))
    paths = manifest.write_manifest(tables, folder, sweep_tables.draw_parts(parts, folder))
    if shown:
        _show_best(found, best)
    return paths


def _contest(facts: dict[str, Any], folder: Path, uri: str | None, shown: bool) -> list[Path]:
    from reports.provenance import manifest, sweep_tables
    from reports.results import sweeps

    ledger = open_ledger(uri)
    runs = list(ledger.runs())
    found = sweep_tables.equal_budget_results(facts, runs, cache(ledger.predictions))
    parts = [sweeps.read_sweep(part) for part in sweeps.parts(facts)]
    curves = sweep_tables.equal_budget_curves(facts, parts)
    if shown:
        _show_contest(facts["name"], found)
    tables = sweep_tables.equal_budget_report(facts, parts, found, curves, runs)
    return manifest.write_manifest(tables, folder, sweep_tables.draw_parts([curves], folder))


def _runs(sweep: "Sweep", uri: str | None) -> list[Run]:
    """The runs of a sweep's trials; no ledger is opened for a sweep that knows none."""
    return list(open_ledger(uri).runs()) if sweep.digests else []


def _show_best(sweep: "Sweep", word: str | None) -> None:
    """Print the best value of a key for each setting of the others, where there is one."""
    from reports.analyses.sweep import best_key, best_table, plain_value

    key = best_key(sweep, word)
    if key is None:
        return
    table = best_table(sweep, key)
    rows = [[plain_value(v) for v in row] for row in table.to_numpy(dtype=object)]
    place = list(table.columns).index(key)
    for row in rows:
        row[place] = f"{row[place]:g}" if isinstance(row[place], float) else row[place]
        row[-2] = "-" if row[-2] != row[-2] else row[-2]  # only one value was tried
    console.table(list(table.columns), rows, f"{sweep.name}: best {key}")


def _show_contest(name: str, found: "EqualBudgetResults") -> None:
    """Print the leaderboard of the winners, and each against the first."""
    from reports.tables import comparison

    print_boards(found.boards)
    if found.against:
        title = f"{name}: against {found.against[0].paired.b.name}"
        console.table(
            comparison.PAIR_COLUMNS,
            comparison.pair_rows(found.against),
            title,
            comparison.OPTIONAL_COLUMNS,
        )
        for note in comparison.comparison_notes(found.against):
            console.say(f"  {note}")


def show_sweep_front(
    name: str, cost: str | None, quality: str | None, folder: Path, uri: str | None, as_json: bool
) -> None:
    """Draw and show the front of a sweep."""
    from reports.analyses.sweep import plain_value
    from reports.provenance import manifest, sweep_tables
    from reports.results import sweeps

    found = sweeps.read_sweep(name)
    cost, quality = cost or found.cost, quality or found.quality
    part = sweep_tables.front_part(found, "pareto", cost, quality)
    tables = sweep_tables.front_report(found, cost, quality, part, _runs(found, uri))
    paths = manifest.write_manifest(tables, folder, sweep_tables.draw_parts([part], folder))
    table = part.table
    best = table[table["front"]].sort_values(cost)
    if as_json:
        console.as_json(
            [{k: plain_value(v) for k, v in r.items()} for r in best.to_dict("records")]
        )
        return
    heads = ["number", cost, quality, *found.keys]
    shown = [best[h].map(plain_value) for h in heads[:3]]
    shown += [best[k].map(lambda v: f"{v:.4g}" if isinstance(v, float) else v) for k in found.keys]
    rows = [list(row) for row in zip(*shown, strict=True)]
    console.table(["trial", *heads[1:]], rows, f"{name}: front of {len(table)} complete trials")
    console.say("written: " + ", ".join(str(p) for p in paths))
