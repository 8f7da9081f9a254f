"""A method's whole rank sweep as one curve: accuracy against size.

At each size a curve has the configuration that validation chooses, never the one that tests best.
Of sweeps, which never open the test split, the accuracies are those of validation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.tracking.ledger import open_ledger
from methods.kit.core.errors import UsageError
from reports.analyses.pareto import Axes, ParetoPoint, measured_on, pareto_points
from reports.results import sweeps
from reports.results.annotations import REFERENCE_METHOD
from reports.results.board import Board, runs_frame, varying_settings
from reports.results.selection import best_by_validation
from reports.statistics.intervals import t_interval

STEM = "pareto-curves"


@dataclass(frozen=True)
class Curve:
    """A method's points, smallest first; ``key`` is the setting that moves along it, if it is one,
    and ``values`` what it is at each point."""

    method: str
    points: tuple[ParetoPoint, ...]
    tried: tuple[int, ...]  # configurations of each size, of which one is shown
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class RankCurves:
    """The curves, zero-shot where it is known, and what they were measured on."""

    curves: tuple[Curve, ...]
    zero: ParetoPoint | None
    title: str
    asked: Axes


def board_curves(board: Board, asked: Axes) -> RankCurves:
    """The curves of all that is recorded. Raises UsageError where no method has two sizes."""
    found = pareto_points(board, asked.cost.name, asked.quality.name, judged=False)
    zero = next((p for p in found if p.method == REFERENCE_METHOD), None)
    sized = [p for p in found if p.cost > 0]

    def choose(same: Sequence[ParetoPoint]) -> ParetoPoint | None:
        cells = board.cells[board.cells["group"].isin([p.group for p in same])]
        best = best_by_validation(cells)
        groups = set(cells[cells["configuration"] == best]["group"])
        return next((p for p in same if p.group in groups), None)

    seeds = len(board.seeds)
    title = f"{board.protocol} on {board.backbone}: {measured_on(board)}"
    title += f"; {seeds} seed{'s' * (seeds > 1)}"
    return _picture(sized, choose, zero, title, asked)


def sweep_curves(
    names: Sequence[str], asked: Axes, uri: str | None
) -> tuple[RankCurves, pd.DataFrame]:
    """The curves of sweeps, a method each or several, on validation data; and the runs of their
    trials, a row each. Raises UsageError."""
    found = [sweeps.read_sweep(name) for name in names]
    cells = {tuple(sorted(map(tuple, s.facts["cells"]))) for s in found}
    if len(cells) > 1 or len({s.facts["protocol"] for s in found}) > 1:
        raise UsageError(f"{', '.join(names)}: these sweeps differ in protocol, data sets or seeds")
    table = trial_frame(_rows([d for s in found for d in _digests(s)], uri), asked)
    return trial_curves(table, asked, f"{', '.join(names)}: {found[0].facts['protocol']}"), table


def trial_curves(table: pd.DataFrame, asked: Axes, title: str) -> RankCurves:
    """The curves of the runs of trials."""
    sized = [_point(part, asked) for _, part in table.groupby(["method", "configuration"])]

    def choose(same: Sequence[ParetoPoint]) -> ParetoPoint:
        return min(same, key=lambda p: (asked.quality.sign * p.mean, p.settings))

    datasets, seeds = sorted(table["dataset"].unique()), table["seed"].nunique()
    title = f"{title} on {', '.join(datasets)}, validation"
    return _picture(sized, choose, None, f"{title}; {seeds} seed{'s' * (seeds > 1)}", asked)


def curves_csv(found: RankCurves) -> str:
    """The numbers of the picture in full precision; zero-shot has no size."""
    quality = found.asked.quality.name
    rows: list[dict[str, Any]] = [
        {
            "method": p.method,
            "settings": p.settings,
            found.asked.cost.name: p.cost,
            f"{quality}_mean": p.mean,
            f"{quality}_low": p.low,
            f"{quality}_high": p.high,
            f"{quality}_n": p.n,
            "configurations": tried,
        }
        for curve in found.curves
        for p, tried in zip(curve.points, curve.tried, strict=True)
    ]
    if found.zero is not None:
        z = found.zero
        rows.append(
            {"method": z.method, "settings": "", found.asked.cost.name: z.cost,
             f"{quality}_mean": z.mean, f"{quality}_low": z.low, f"{quality}_high": z.high,
             f"{quality}_n": z.n, "configurations": 1}
        )  # fmt: skip
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def _picture(
    sized: Sequence[ParetoPoint], choose: Any, zero: ParetoPoint | None, title: str, asked: Axes
) -> RankCurves:
    curves = []
    for method in sorted({p.method for p in sized}):
        sizes: dict[float, list[ParetoPoint]] = {}
        for p in sized:
            if p.method == method:
                sizes.setdefault(p.cost, []).append(p)
        chosen = [(same[0] if len(same) == 1 else choose(same), len(same))
                  for _, same in sorted(sizes.items())]  # fmt: skip
        kept = [(p, n) for p, n in chosen if p is not None]
        if kept:
            shown = tuple(p for p, _ in kept)
            curves.append(Curve(method, shown, tuple(n for _, n in kept), *_moving(shown)))
    if not any(len(c.points) > 1 for c in curves):
        raise UsageError(
            "--curves: no method was run with two sizes; say such as"
            " `ringbench suite base_to_novel methods=lora data=digits lora.rank=1,2,4`"
        )
    return RankCurves(tuple(curves), zero, title, asked)


def _moving(shown: Sequence[ParetoPoint]) -> tuple[str, tuple[str, ...]]:
    """The one setting that differs between the points, and its values."""
    words = [dict(w.split("=", 1) for w in p.settings.split(" ") if "=" in w) for p in shown]
    keys = sorted({k for w in words for k in w})
    moving = [k for k in keys if len({w.get(k) for w in words}) > 1]
    if len(moving) != 1:
        return "", ()
    return moving[0], tuple(w.get(moving[0], "") for w in words)


# --- sweeps ------------------------------------------------------------------------------------


def _digests(found: sweeps.Sweep) -> list[str]:
    if "digests" not in found.complete:
        raise UsageError(
            f"sweep {found.name}: was written by an older version; say its command again"
        )
    return [d for cell in found.complete["digests"] for d in str(cell).split()]


def _rows(digests: Sequence[str], uri: str | None) -> pd.DataFrame:
    """The runs of trials, a row each."""
    wanted = set(digests)
    runs = [r for r in open_ledger(uri).runs() if r.digest in wanted]
    if not runs:
        raise UsageError("the runs of these sweeps are not in this ledger")
    return runs_frame(runs, tested=False)


def trial_frame(table: pd.DataFrame, asked: Axes) -> pd.DataFrame:
    """The finished runs with their settings. Raises UsageError for what they do not record."""
    table = table[table["finished"]].copy()
    for q in asked.all:
        if q.name not in table:
            there = ", ".join(sorted(c for c in table if "/" in str(c)))
            raise UsageError(f"{q.name}: the runs of a sweep do not record it; they have {there}")
    table["settings"] = varying_settings(table)
    return table


def _point(part: pd.DataFrame, asked: Axes) -> ParetoPoint:
    """A configuration: averages over data sets seed by seed, and their t interval."""
    by_seed = part.groupby("seed")[asked.quality.name].mean()
    whole = part.groupby("seed")["dataset"].nunique() == part["dataset"].nunique()
    estimate = t_interval(np.asarray(by_seed[whole], dtype=float).tolist())
    first = part.iloc[0]
    return ParetoPoint(
        first["method"],
        first["settings"],
        float(part[asked.cost.name].mean()),
        *estimate,
        group=first["configuration"],
        third=math.nan,
    )
