"""Fronts as they lie on the page: names on nothing, axes that can be read, the same bytes."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from harness.spec.quantities import find_quantity
from reports.analyses import pareto, rank_curves
from reports.analyses.pareto import ParetoPoint
from reports.figures import front_geometry, style
from reports.figures.label_placement import place_labels
from reports.figures.pareto import SIZE, draw_pareto
from reports.figures.rank_curves import draw_curves, save_curves
from reports.figures.style import STYLE
from reports.results.board import Board, boards
from tests.reports import known_runs

COST, QUALITY, TIME = "params/trainable", "acc/test", "time/train_seconds"


def board(points: list[tuple[str, float, float]], data: tuple[str, ...] = ("x",)) -> Board:
    """Configurations as (name, cost, accuracy), with two seeds half a point apart."""
    runs = [
        run
        for name, cost, accuracy in points
        for run in known_runs.grid(
            name.split()[0], dict.fromkeys(data, accuracy), (1, 2), lambda d, s: s / 2,
            metrics={COST: cost, TIME: cost / 10},
            settings=dict(w.split("=") for w in name.split()[1:]),
        )
    ]  # fmt: skip
    (found,) = boards(runs)
    return found


def drawn(found: Board, third: str | None = None, each: bool = False) -> Figure:
    asked = pareto.find_axes(found, COST, QUALITY, third)
    panels = [pareto.pareto_points(found, asked, d)
              for d in (found.datasets if each else (None,))]  # fmt: skip
    with mpl.rc_context(STYLE):
        return draw_pareto(panels, found, asked, None)


def boxes(figure: Figure, axes: Any) -> list[Any]:
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    return [t.get_window_extent(renderer) for t in axes.texts if t.get_text()]


def marks(axes: Any) -> np.ndarray:
    """The middle of every mark, in pixels."""
    lines = [c.lines[0] for c in axes.containers]
    return np.concatenate([axes.transData.transform(line.get_xydata()) for line in lines])


def touching(figure: Figure, axes: Any) -> int:
    """How many pairs of names overlap, and names lie on a mark or outside of the axes."""
    found, frame = boxes(figure, axes), axes.get_window_extent()
    half = SIZE / 2 * figure.dpi / 72
    pairs = sum(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])
    on = sum(
        b.overlaps(mpl.transforms.Bbox([p - half, p + half])) for b in found for p in marks(axes)
    )
    outside = sum(not (frame.contains(b.x0, b.y0) and frame.contains(b.x1, b.y1)) for b in found)
    return pairs + on + outside


RNG = np.random.default_rng(4)
CROWD = [
    (f"{m} rank={r}", float(10 ** RNG.uniform(3, 4.5)), float(RNG.normal(65, 2)))
    for m in ("adaring", "lora", "full_rank", "clip_adapter", "adapterbias", "mosa")
    for r in range(1, 11)
]


@pytest.mark.parametrize("count", [3, 12, 30, 60])
def test_no_name_lies_on_another_or_on_a_mark(count: int) -> None:
    figure = drawn(board(CROWD[:: 60 // count]))
    (axes,) = figure.axes
    assert boxes(figure, axes)
    assert touching(figure, axes) == 0


def test_nor_in_small_panels_nor_at_another_resolution() -> None:
    figure = drawn(board(CROWD[::3], data=("x", "y")), each=True)
    assert [a.get_title(loc="left") for a in figure.axes] == ["x", "y"]
    assert [touching(figure, a) for a in figure.axes] == [0, 0]
    for dots in (100, 400):
        figure.set_dpi(dots)
        figure.canvas.draw()
        assert [touching(figure, a) for a in figure.axes] == [0, 0]


def test_points_on_one_spot_are_named_apart() -> None:
    figure = drawn(board([(name, 1000.0, 60.0) for name in ("a", "b", "c")]))
    (axes,) = figure.axes
    assert sorted(t.get_text() for t in axes.texts) == ["a", "b", "c"]
    assert touching(figure, axes) == 0


def test_names_without_room_are_counted_and_methods_told_by_a_legend() -> None:
    long = "a_method_with_a_name_as_long_as_no_other_one_could_ever_be_" * 3
    figure = drawn(board([(f"{long}{i}", 1000.0 + i, 60.0 + i) for i in range(3)]))
    assert "; 3 names had no room" in figure._suptitle.get_text()  # type: ignore[attr-defined]
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 3


@pytest.mark.parametrize("span", [1.0, 1.001, 1.5, 3, 30, 1e4])
def test_axes_have_three_ticks_or_more_that_do_not_touch(span: float) -> None:
    figure = drawn(board([("zero_shot", 0, 50), ("a", 8000, 60), ("b", 8000 * span, 61)]))
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    ticks = [t for t in axes.xaxis.get_major_ticks()
             if low <= t.get_loc() <= high and t.label1.get_visible()]  # fmt: skip
    assert len({t.label1.get_text() for t in ticks}) == len(ticks) >= 4
    found = [t.label1.get_window_extent() for t in ticks]
    assert not any(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])


def test_a_third_quantity_is_the_colour_with_a_readable_bar() -> None:
    figure = drawn(board(CROWD[:10]), TIME)
    bar = figure.axes[1]
    assert bar.get_ylabel() == "training time, s"
    colours = {c.lines[0].get_color() for c in figure.axes[0].containers}
    assert len(colours) == 10


@settings(deadline=None, max_examples=8)
@given(st.integers(1, 25), st.integers(0, 10_000))
def test_labels_cover_nothing_whatever_the_crowd(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with mpl.rc_context(STYLE):
        figure = style.new_figure((5, 4))
        axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1))
        anchors = rng.uniform(0.05, 0.95, (count, 2))
        texts = [axes.text(*at, "x" * int(rng.integers(1, 15)), fontsize=7) for at in anchors]
        figure.canvas.draw()
        figure.set_layout_engine("none")
        left_out = place_labels(axes, texts, anchors, anchors, np.empty((0, 2)), 6)
    assert len(axes.texts) + len(left_out) == count
    half = 3 * figure.dpi / 72
    taken = [mpl.transforms.Bbox([p - half, p + half]) for p in axes.transData.transform(anchors)]
    for box in (text.get_window_extent() for text in axes.texts):
        assert not box.count_overlaps(taken)
        taken.append(box)


def test_curves_name_their_settings_on_nothing_and_are_the_same_bytes(tmp_path: Path) -> None:
    found = board([*CROWD[:20], ("zero_shot", 0, 50)])
    picture = rank_curves.board_curves(found, pareto.find_axes(found, COST, QUALITY))
    with mpl.rc_context(STYLE):
        figure = style.new_figure((7.2, 4.6))
        draw_curves(picture, figure)
    (axes,) = figure.axes
    named = boxes(figure, axes)
    assert len(named) >= 10
    assert not any(a.overlaps(b) for i, a in enumerate(named) for b in named[:i])
    assert "zero-shot" in {t.get_text() for t in figure.legends[0].get_texts()}
    for copy in ("one", "two"):
        save_curves(picture, tmp_path / copy)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


WIDE = (("zero_shot", 0, 50.0, 40.0), ("a", 1000, 55.0, 90.0), ("b", 5000, 57.0, 3.0))


def test_bars_of_two_seeds_do_not_squeeze_what_is_compared() -> None:
    """They stretch the axis to twice the spread of the means at most, and never past 100 %."""
    quality = find_quantity(QUALITY)
    points = [
        ParetoPoint(name, "", cost, mean, mean - half, mean + half, 2)
        for name, cost, mean, half in WIDE
    ]
    assert [front_geometry.bar(p, quality) for p in points] == [
        (10.0, 90.0),
        (0.0, 100.0),
        (54.0, 60.0),
    ]
    shown, cut = front_geometry.span(points, quality, None)
    assert (min(shown), max(shown), cut) == (50 - 14, 57 + 14, True)
    cloud = pd.DataFrame({"cost": [2000], "quality": [20.0], "sweep": ["mine"]})
    shown, cut = front_geometry.span(points, quality, cloud)
    assert (min(shown), max(shown), cut) == (0, 100, False)
    alone = [points[1]]
    assert front_geometry.span(alone, quality, None) == ([55.0, 0.0, 100.0], False)
