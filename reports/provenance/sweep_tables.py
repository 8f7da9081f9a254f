"""Tables and figures of a sweep or an equal-budget comparison, as a function of trials and runs.

``report --sweep`` and ``pareto --sweep`` make them; ``verify`` rebuilds them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from harness.tracking import sweep_record
from harness.tracking.ledger import Ledger
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.analyses import comparison_request, sweep
from reports.analyses.comparison import Comparison
from reports.figures import sweep as figures
from reports.provenance import manifest
from reports.provenance.manifest import TableSet
from reports.results import sweep_results
from reports.results.board import Board, boards, runs_frame
from reports.results.sweep_results import Sweep
from reports.statistics.mcnemar import FetchPredictions
from reports.tables import comparison, paper_table

SWEEP, FRONT, EQUAL_BUDGET = "report --sweep", "pareto --sweep", "report --sweep, of a contest"
Trials = dict[str, list[int]]  # sweep -> the trials that a table was made of


@dataclass(frozen=True)
class SweepRequest:
    """Options of ``report --sweep``: two keys for the map, and the key whose best value to show."""

    map: str | None = None
    best: str | None = None


@dataclass(frozen=True)
class SweepPart:
    """A table and, unless None, the function that draws it to a PNG, an SVG and a PDF."""

    stem: str
    table: pd.DataFrame
    draw: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class EqualBudgetResults:
    """Boards of the candidates' chosen runs, and each candidate compared with the first."""

    boards: list[Board]
    against: list[Comparison]


# --- tables and figures ---------------------------------------------------------------------------


def sweep_parts(tuned: Sweep, request: SweepRequest = SweepRequest()) -> list[SweepPart]:
    """Return every part of a sweep's report. Raises UsageError for keys that it does not have."""
    best = sweep.best_key(tuned, request.best)
    keys = sweep.chosen_keys(tuned, request.map) if request.map else sweep.map_keys(tuned)
    weights, title = sweep.importances(tuned), _title(tuned)
    parts = [front_part(tuned, "front")]
    if keys is not None:
        cells = sweep.map_table(tuned, keys)
        values = sweep.map_values(tuned, keys[0]), sweep.map_values(tuned, keys[1])
        draw = partial(figures.draw_heat_map, cells, keys, values, tuned.quality, title)
        parts.append(SweepPart("map", cells, draw))
    if best is not None:
        parts.append(SweepPart("best", sweep.best_table(tuned, best)))
    if not weights.empty:
        draw = partial(figures.draw_importances, weights, title)
        parts.append(SweepPart("importances", weights, draw))
    curve = sweep.tuning_curve(tuned, tuned.facts["method"])
    return [*parts, _curves_part(curve, tuned.facts["objectives"][0], title, "trial")]


def front_part(
    tuned: Sweep, stem: str, cost: str | None = None, quality: str | None = None
) -> SweepPart:
    """Return the front of a sweep with its hypervolume over trials. Raises UsageError."""
    cost, quality = cost or tuned.cost, quality or tuned.quality
    table = sweep.front_table(tuned, cost, quality)
    draw = partial(figures.draw_front, table, cost, quality, _title(tuned))
    return SweepPart(stem, table, draw)


def equal_budget_curves(facts: dict[str, Any], tuned: Sequence[Sweep]) -> SweepPart:
    """Return the tuning curves of the candidates; ``tuned`` are their sweeps in order."""
    labels = [m["label"] for m in facts["methods"]]
    curves = [sweep.tuning_curve(s, label) for s, label in zip(tuned, labels, strict=True)]
    by = "seconds" if "minutes" in facts["goal"] else "trial"
    title = f"{facts['name']}: {facts['goal']} each"
    return _curves_part(pd.concat(curves), facts["objective"], title, by)


def equal_budget_results(
    facts: dict[str, Any], runs: Sequence[Run], fetch: FetchPredictions
) -> EqualBudgetResults:
    """Return the results of the chosen runs. Raises UsageError before any of them is tested."""
    digests = {d for m in facts["methods"] for d in m["digests"]}
    chosen = [r for r in runs if r.digest in digests and r.tested]
    found = boards(chosen) if chosen else []
    if not found:
        raise UsageError(
            f"equal-budget comparison {facts['name']}: no winner is tested yet;"
            " run the same command again to go on"
        )
    return EqualBudgetResults(found, comparison_request.sweep_comparisons(facts, chosen, fetch))


def draw_parts(parts: Sequence[SweepPart], folder: Path) -> list[Path]:
    """Draw the figures of parts and return their paths. The same rows give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part in parts:
        if part.draw is not None:
            part.draw(folder / f"{part.stem}.png")
            paths += [folder / f"{part.stem}.{kind}" for kind in ("png", "svg", "pdf")]
    return paths


def _curves_part(table: pd.DataFrame, objective: str, title: str, by: str) -> SweepPart:
    draw = partial(figures.draw_tuning_curves, table, objective, by, title)
    return SweepPart("curves", table, draw)


def _title(tuned: Sweep) -> str:
    cells = tuned.facts["cells"]
    data = ", ".join(dict.fromkeys(d for d, _ in cells))
    seeds = len({s for _, s in cells})
    return f"{tuned.name}: {tuned.facts['protocol']} on {data}, {seeds} seed" + "s" * (seeds > 1)


# --- table sets -----------------------------------------------------------------------------------


def sweep_report(
    tuned: Sweep, request: SweepRequest, parts: Sequence[SweepPart], runs: Sequence[Run]
) -> TableSet:
    """Return the tables of ``report --sweep``; ``parts`` are all parts of the sweep."""
    settings = {"command": SWEEP, "map": request.map, "best": request.best}
    return _table_set("sweep", settings, _csv_files(parts), [tuned], runs)


def front_report(
    tuned: Sweep, cost: str, quality: str, part: SweepPart, runs: Sequence[Run]
) -> TableSet:
    """Return the tables of ``pareto --sweep``; files are named by the part's stem."""
    settings = {"command": FRONT, "stem": part.stem, "cost": cost, "quality": quality}
    return _table_set(part.stem, settings, _csv_files([part]), [tuned], runs)


def equal_budget_report(
    facts: dict[str, Any],
    tuned: Sequence[Sweep],
    results: EqualBudgetResults,
    curves: SweepPart,
    runs: Sequence[Run],
) -> TableSet:
    """Return the leaderboard of the chosen runs, their comparison, and the tuning curves."""
    settings = {"command": EQUAL_BUDGET, "contest": facts["name"]}
    files = paper_table.leaderboard_files(results.boards)
    if results.against:
        files |= comparison.comparison_files(results.against, f"contest {facts['name']}")
    made = _table_set("contest", settings, files | _csv_files([curves]), tuned, runs)
    tested = manifest.tables_of_boards("", {}, {}, results.boards)
    return replace(
        made,
        rows=[*tested.rows, *made.rows],
        runs=made.runs | tested.runs,
        read=(*tested.read, *made.read),
    )


def _csv_files(parts: Sequence[SweepPart]) -> dict[str, str]:
    return {f"{p.stem}.csv": p.table.to_csv(index=False, lineterminator="\n") for p in parts}


def _table_set(
    name: str,
    settings: dict[str, Any],
    files: dict[str, str],
    tuned: Sequence[Sweep],
    runs: Sequence[Run],
) -> TableSet:
    """Return a table set with a row for each trial: its runs that are in the ledger."""
    behind = [run for one in tuned for run in one.behind(runs)]
    facts, ids = {}, {}
    if behind:
        table = runs_frame(behind, tested=False)
        facts = manifest.run_facts(table)
        ids = dict(zip(table["digest"], table["run_id"], strict=True))
    rows = [
        {
            "sweep": one.name,
            "trial": row["number"],
            "runs": [ids[d] for d in sweep_results.trial_digests(row) if d in ids],
        }
        for one in tuned
        for row in one.trials.to_dict("records")
    ]
    trials: Trials = {one.name: one.trials["number"].tolist() for one in tuned}
    return TableSet(name, {**settings, "trials": trials}, files, rows, facts, tuple(facts))


# --- rebuilding -----------------------------------------------------------------------------------


def _rebuild_sweep(settings: dict[str, Any], runs: Sequence[Run], ledger: Ledger) -> TableSet:
    """Leave out importances once the sweep has more trials: they are known of all trials only."""
    (tuned,) = _sweeps_then(settings)
    request = SweepRequest(settings["map"], settings["best"])
    gone = {"importances"} if later_trials(settings["trials"]) else set()
    parts = [p for p in sweep_parts(tuned, request) if p.stem not in gone]
    return sweep_report(tuned, request, parts, runs)


def _rebuild_front(settings: dict[str, Any], runs: Sequence[Run], ledger: Ledger) -> TableSet:
    (tuned,) = _sweeps_then(settings)
    cost, quality = settings["cost"], settings["quality"]
    part = front_part(tuned, settings["stem"], cost, quality)
    return front_report(tuned, cost, quality, part, runs)


def _rebuild_equal_budget(
    settings: dict[str, Any], runs: Sequence[Run], ledger: Ledger
) -> TableSet:
    facts, tuned = sweep_record.read_sweep(settings["contest"]).facts, _sweeps_then(settings)
    results = equal_budget_results(facts, runs, cache(ledger.predictions))
    return equal_budget_report(facts, tuned, results, equal_budget_curves(facts, tuned), runs)


REBUILDERS = {
    SWEEP: _rebuild_sweep,
    FRONT: _rebuild_front,
    EQUAL_BUDGET: _rebuild_equal_budget,
}


def _sweeps_then(settings: dict[str, Any]) -> list[Sweep]:
    """Return sweeps as they were with the trials of a manifest. Raises UsageError if some are gone.

    The order of trials counts from zero again.
    """
    trials: Trials = settings["trials"]
    found = []
    for name, numbers in trials.items():
        stored = sweep_results.load_sweep(name)
        table = stored.trials[stored.trials["number"].isin(numbers)].reset_index(drop=True)
        if len(table) < len(numbers):
            raise UsageError(f"sweep {name}: {len(numbers) - len(table)} trials are gone")
        found.append(Sweep(stored.facts, table.assign(order=range(len(table)))))
    return found


def later_trials(trials: Trials) -> int:
    """Count the trials that these sweeps have had since, where they are stored here."""
    stored = [name for name in trials if name in sweep_record.sweep_names()]
    return sum(len(sweep_results.load_sweep(name).trials) - len(trials[name]) for name in stored)
