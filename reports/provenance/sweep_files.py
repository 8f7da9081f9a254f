"""All pictures and tables of a sweep or of a contest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.analyses import comparison_request, sweep
from reports.analyses.comparison import Comparison
from reports.analyses.sweep import (
    best_key,
    best_table,
    chosen_keys,
    front_table,
    importances,
    map_keys,
    map_table,
    map_values,
    tuning_curve,
)
from reports.results.board import Board, boards
from reports.results.sweeps import Sweep
from reports.statistics.mcnemar import FetchPredictions
from reports.tables import comparison, paper_table


@dataclass(frozen=True)
class SweepRequest:
    """Of a sweep: two keys to draw a map over, and the key to show the best value of."""

    map: str | None = None
    best: str | None = None


@dataclass(frozen=True)
class SweepPart:
    """A table, and how ``reports.figures.sweep`` draws it to a PNG and, beside it, SVG and PDF;
    None for one that is no picture."""

    stem: str
    table: pd.DataFrame
    drawn: Callable[[ModuleType, Path], None] | None

    @property
    def text(self) -> str:
        return self.table.to_csv(index=False, lineterminator="\n")


@dataclass(frozen=True)
class Results:
    """What the winners of a contest reached, and each against the first."""

    boards: list[Board]
    against: list[Comparison]


def sweep_parts(sweep: Sweep, wanted: SweepRequest = SweepRequest()) -> list[SweepPart]:
    """Everything there is to say about a sweep. Raises UsageError for keys that it has not."""
    best = best_key(sweep, wanted.best)
    keys = chosen_keys(sweep, wanted.map) if wanted.map else map_keys(sweep)
    curve = tuning_curve(sweep, sweep.facts["method"])
    weights = importances(sweep)
    return [
        front_part(sweep, "front"),
        *([] if keys is None else [_map(sweep, keys)]),
        *([] if best is None else [SweepPart("best", best_table(sweep, best), None)]),
        *([] if weights.empty else [_importances(sweep, weights)]),
        _curves(curve, sweep.facts["objectives"][0], _title(sweep), False),
    ]


def front_part(
    sweep: Sweep, stem: str, cost: str | None = None, quality: str | None = None
) -> SweepPart:
    """The front of a sweep with its hypervolume over trials. Raises UsageError."""
    cost, quality = cost or sweep.cost, quality or sweep.quality
    table = front_table(sweep, cost, quality)
    title = _title(sweep)
    return SweepPart(
        stem, table, lambda pens, png: pens.draw_front(table, cost, quality, title, png)
    )


def contest_curves(facts: dict[str, Any], tuned: Sequence[Sweep]) -> SweepPart:
    """How the tuning of each entrant went; ``tuned`` are their sweeps in order."""
    labels = [m["label"] for m in facts["methods"]]
    table = pd.concat(
        [sweep.tuning_curve(s, label) for s, label in zip(tuned, labels, strict=True)]
    )
    timed = "minutes" in facts["goal"]
    return _curves(table, facts["objective"], f"{facts['name']}: {facts['goal']} each", timed)


def contest_results(facts: dict[str, Any], runs: Sequence[Run], fetch: FetchPredictions) -> Results:
    """Of a contest's winners among ``runs``. Raises UsageError before they are tested."""
    digests = {d for m in facts["methods"] for d in m["digests"]}
    mine = [r for r in runs if r.digest in digests and r.tested]
    found = boards(mine) if mine else []
    if not found:
        name = facts["name"]
        raise UsageError(f"contest {name}: no winner is tested yet; the same command goes on")
    return Results(found, comparison_request.sweep_comparisons(facts, mine, fetch))


def contest_texts(facts: dict[str, Any], found: Results, curves: SweepPart) -> dict[str, str]:
    """The leaderboard of the winners, the winners compared, and the tuning curves."""
    title = f"contest {facts['name']}"
    paired = comparison.comparison_files(found.against, title) if found.against else {}
    return {**paper_table.leaderboard_files(found.boards), **paired, **texts([curves])}


def texts(found: Sequence[SweepPart]) -> dict[str, str]:
    return {f"{part.stem}.csv": part.text for part in found}


def draw_parts(found: Sequence[SweepPart], folder: Path) -> list[Path]:
    """The pictures of parts; returns their paths. Same rows, same bytes."""
    from reports.figures import sweep as sweep_module  # matplotlib is slow to import

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part in found:
        if part.drawn is not None:
            part.drawn(sweep_module, folder / f"{part.stem}.png")
            paths += [folder / f"{part.stem}.{kind}" for kind in ("png", "svg", "pdf")]
    return paths


def _map(sweep: Sweep, keys: tuple[str, str]) -> SweepPart:
    cells, title = map_table(sweep, keys), _title(sweep)
    values = (map_values(sweep, keys[0]), map_values(sweep, keys[1]))
    return SweepPart(
        "map",
        cells,
        lambda pens, png: pens.draw_heat_map(cells, keys, values, sweep.quality, title, png),
    )


def _importances(sweep: Sweep, weights: pd.DataFrame) -> SweepPart:
    title = _title(sweep)
    return SweepPart(
        "importances", weights, lambda pens, png: pens.draw_importances(weights, title, png)
    )


def _curves(table: pd.DataFrame, aim: str, title: str, timed: bool) -> SweepPart:
    by = "seconds" if timed else "trial"
    return SweepPart(
        "curves", table, lambda pens, png: pens.draw_tuning_curves(table, aim, by, title, png)
    )


def _title(sweep: Sweep) -> str:
    cells = sweep.facts["cells"]
    data = ", ".join(dict.fromkeys(d for d, _ in cells))
    seeds = len({s for _, s in cells})
    return f"{sweep.name}: {sweep.facts['protocol']} on {data}, {seeds} seed" + "s" * (seeds > 1)
