"""Accuracy against size, a curve per method, over the configurations of a rank sweep.

At each size a curve shows the configuration that validation chooses, never the best on test data.
Curves of sweeps show validation accuracy: a sweep never opens the test split.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.tracking.ledger import open_ledger
from methods.kit.core.errors import UsageError
from reports.analyses.pareto import Axes, ParetoPoint, measured_on, pareto_points
from reports.results.annotations import REFERENCE_METHOD
from reports.results.board import Board, runs_frame, varying_settings
from reports.results.selection import best_by_validation
from reports.results.sweep_results import Sweep, load_sweep
from reports.statistics.intervals import t_interval

STEM = "pareto-curves"


@dataclass(frozen=True)
class Curve:
    """A method's points, smallest first.

    ``tried`` counts the configurations of each size, of which one is shown. ``key`` is the setting
    that varies along the curve, if it is a single one, and ``values`` its value at each point.
    """

    method: str
    points: tuple[ParetoPoint, ...]
    tried: tuple[int, ...]
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class RankCurves:
    """The curves, the zero-shot point where it is known, and the title of the figure."""

    curves: tuple[Curve, ...]
    zero_shot: ParetoPoint | None
    title: str
    axes: Axes


def board_curves(board: Board, axes: Axes) -> RankCurves:
    """Return the curves of a board. Raises UsageError where no method has two sizes."""
    points = pareto_points(board, axes, probabilities=False)
    zero_shot = next((p for p in points if p.method == REFERENCE_METHOD), None)

    def choose(same_size: Sequence[ParetoPoint]) -> ParetoPoint | None:
        cells = board.cells[board.cells["group"].isin([p.group for p in same_size])]
        best = best_by_validation(cells)
        groups = set(cells[cells["configuration"] == best]["group"])
        return next((p for p in same_size if p.group in groups), None)

    title = f"{board.protocol} on {board.backbone}: {measured_on(board)}"
    title = f"{title}; {_seeds(len(board.seeds))}"
    return _curves([p for p in points if p.cost > 0], choose, zero_shot, title, axes)


def sweep_curves(
    names: Sequence[str], axes: Axes, uri: str | None
) -> tuple[RankCurves, pd.DataFrame]:
    """Return the curves of sweeps, one or several per method, and a row per run of their trials.

    Raises UsageError for sweeps that differ in protocol, data sets or seeds.
    """
    sweeps = [load_sweep(name) for name in names]
    cells = {tuple(sorted(map(tuple, s.facts["cells"]))) for s in sweeps}
    if len(cells) > 1 or len({s.facts["protocol"] for s in sweeps}) > 1:
        raise UsageError(f"{', '.join(names)}: these sweeps differ in protocol, data sets or seeds")
    digests = {d for sweep in sweeps for d in _digests(sweep)}
    runs = [r for r in open_ledger(uri).runs() if r.digest in digests]
    if not runs:
        raise UsageError("the runs of these sweeps are not in this ledger")
    table = trial_frame(runs_frame(runs, tested=False), axes)
    return trial_curves(table, axes, f"{', '.join(names)}: {sweeps[0].facts['protocol']}"), table


def trial_curves(table: pd.DataFrame, axes: Axes, title: str) -> RankCurves:
    """Return the curves of the runs of trials."""
    points = [_trial_point(runs, axes) for _, runs in table.groupby(["method", "configuration"])]

    def choose(same_size: Sequence[ParetoPoint]) -> ParetoPoint:
        return min(same_size, key=lambda p: (axes.quality.sign * p.mean, p.settings))

    datasets, seeds = sorted(table["dataset"].unique()), table["seed"].nunique()
    title = f"{title} on {', '.join(datasets)}, validation; {_seeds(seeds)}"
    return _curves(points, choose, None, title, axes)


def trial_frame(table: pd.DataFrame, axes: Axes) -> pd.DataFrame:
    """Return the finished runs with their settings. Raises UsageError for a missing quantity."""
    table = table[table["finished"]].copy()
    for q in axes.all:
        if q.name not in table:
            there = ", ".join(sorted(c for c in table if "/" in str(c)))
            raise UsageError(f"{q.name}: the runs of a sweep do not record it; they have {there}")
    table["settings"] = varying_settings(table)
    return table


def curves_csv(curves: RankCurves) -> str:
    """Return the numbers of the figure in full precision; zero-shot has no size."""
    cost, quality = curves.axes.cost.name, curves.axes.quality.name
    shown = [pair for c in curves.curves for pair in zip(c.points, c.tried, strict=True)]
    if curves.zero_shot is not None:
        shown.append((curves.zero_shot, 1))
    rows = [
        {
            "method": p.method,
            "settings": "" if p is curves.zero_shot else p.settings,
            cost: p.cost,
            f"{quality}_mean": p.mean,
            f"{quality}_low": p.low,
            f"{quality}_high": p.high,
            f"{quality}_n": p.n,
            "configurations": tried,
        }
        for p, tried in shown
    ]
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def _curves(
    points: Sequence[ParetoPoint],
    choose: Callable[[Sequence[ParetoPoint]], ParetoPoint | None],
    zero_shot: ParetoPoint | None,
    title: str,
    axes: Axes,
) -> RankCurves:
    curves = []
    for method in sorted({p.method for p in points}):
        sizes: dict[float, list[ParetoPoint]] = {}
        for p in points:
            if p.method == method:
                sizes.setdefault(p.cost, []).append(p)
        chosen = [
            (same[0] if len(same) == 1 else choose(same), len(same))
            for _, same in sorted(sizes.items())
        ]
        shown = [(p, tried) for p, tried in chosen if p is not None]
        if shown:
            kept = tuple(p for p, _ in shown)
            curves.append(Curve(method, kept, tuple(n for _, n in shown), *_varying_key(kept)))
    if not any(len(c.points) > 1 for c in curves):
        raise UsageError(
            "--curves: no method was run with two sizes; say such as"
            " `ringbench suite base_to_novel methods=lora data=digits lora.rank=1,2,4`"
        )
    return RankCurves(tuple(curves), zero_shot, title, axes)


def _varying_key(points: Sequence[ParetoPoint]) -> tuple[str, tuple[str, ...]]:
    """Return the single setting that differs between the points, and its values."""
    words = [dict(w.split("=", 1) for w in p.settings.split(" ") if "=" in w) for p in points]
    varying = [
        k for k in sorted({k for w in words for k in w}) if len({w.get(k) for w in words}) > 1
    ]
    if len(varying) != 1:
        return "", ()
    return varying[0], tuple(w.get(varying[0], "") for w in words)


def _digests(sweep: Sweep) -> list[str]:
    if "digests" not in sweep.complete:
        raise UsageError(
            f"sweep {sweep.name}: was written by an older version; say its command again"
        )
    return [d for cell in sweep.complete["digests"] for d in str(cell).split()]


def _trial_point(runs: pd.DataFrame, axes: Axes) -> ParetoPoint:
    """Return a configuration: averages over data sets for each seed, and their t interval."""
    quality: Any = runs.groupby("seed")[axes.quality.name].mean()
    complete = runs.groupby("seed")["dataset"].nunique() == runs["dataset"].nunique()
    first = runs.iloc[0]
    return ParetoPoint(
        first["method"],
        first["settings"],
        float(runs[axes.cost.name].mean()),
        *t_interval(np.asarray(quality[complete], dtype=float)),
        group=first["configuration"],
        third=math.nan,
    )


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count > 1)}"
