"""Pictures of sweeps as they lie on the page: legends, ticks, the column for what costs nothing."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from harness.spec.quantities import count_text
from reports.figures import style, sweep

COST, QUALITY = "params/trainable", "acc/val_hmean"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures, laid out, in the order in which they are saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *args: Any, **kwargs: Any) -> None:
        save(self, *args, **kwargs)
        figures.append(self)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def front_of(costs: list[float], values: list[float], folder: Path) -> None:
    pairs = list(zip(costs, values, strict=True))
    table = pd.DataFrame({COST: costs, QUALITY: values, "hypervolume": 0.5})
    table["front"] = [not any(c <= p[0] and v >= p[1] and (c, v) != p for c, v in pairs)
                      for p in pairs]  # fmt: skip
    sweep.draw_front(table, COST, QUALITY, "a title", folder / "a.png")


def points(axes: Any) -> np.ndarray:
    """Every mark of a picture, in pixels."""
    return np.concatenate(
        [axes.transData.transform(marks.get_offsets()) for marks in axes.collections]
    )


def legend_is_clear(figure: Figure) -> bool:
    (legend,) = figure.legends
    box = legend.get_window_extent()
    inside = any(box.padded(6).contains(*p) for axes in figure.axes for p in points_of(axes))
    return not inside and not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)


def points_of(axes: Any) -> np.ndarray:
    return points(axes) if axes.collections else np.empty((0, 2))


def labels(axes: Any) -> list[str]:
    low, high = axes.get_xlim()
    ticks = axes.xaxis.get_major_ticks()
    return [t.label1.get_text() for t in ticks if low <= t.get_loc() <= high]


# a cloud in every corner, where a legend inside of the axes would lie on it
CORNERS = [(8_000.0, 40.0), (8_200.0, 70.0), (30_000.0, 40.5), (31_000.0, 41.0), (30_500.0, 70.5)]


def test_a_legend_lies_on_no_point(tmp_path: Path, drawn: list[Figure]) -> None:
    front_of(*map(list, zip(*CORNERS, strict=True)), tmp_path)
    rows = [{"method": f"method {m}", "trial": i, QUALITY: v, "best": v}
            for m in range(5) for i, (_, v) in enumerate(CORNERS)]  # fmt: skip
    sweep.draw_tuning_curves(pd.DataFrame(rows), QUALITY, "trial", "a title", tmp_path / "b.png")
    assert len(drawn) == 6  # both as PNG, SVG and PDF
    assert all(map(legend_is_clear, drawn))


@pytest.mark.parametrize("high", [8_000.0, 8_010.0, 9_000.0, 20_000.0, 100_000.0, 9e7])
def test_a_cost_axis_has_three_labels_however_short(
    high: float, tmp_path: Path, drawn: list[Figure]
) -> None:
    front_of([8_000.0, high], [50.0, 60.0], tmp_path)
    found = labels(drawn[0].axes[0])
    assert len(found) >= 3
    assert len(set(found)) == len(found)


def test_what_costs_nothing_stands_left_of_all_and_is_called_zero(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    front_of([0.0, 8_000.0, 9_000.0], [50.0, 60.0, 61.0], tmp_path)
    axes = drawn[0].axes[0]
    assert labels(axes)[0] == "0"
    assert "0" not in labels(axes)[1:]
    assert len(labels(axes)) >= 3
    edges = axes.get_window_extent()
    assert all(edges.contains(*p) for p in points(axes))


@settings(deadline=None)
@given(st.floats(1, 1e12), st.floats(math.log10(3.9), 10))
def test_ticks_are_round_inside_and_told_apart(low: float, span: float) -> None:
    high = low * 10**span
    found = style.log_ticks(low, high)
    assert len(found) >= 3
    assert all(low <= t <= high for t in found)
    assert found == sorted(set(found))
    said = [count_text(t) for t in found if t >= 1]
    assert len(set(said)) == len(said) or high < 10
