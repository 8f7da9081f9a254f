"""Accuracy against cost: a chart for each cost, a mark for each configuration, and the tables."""

import math
from collections.abc import Callable, Iterator

from markupsafe import Markup

from reports.analyses.dominated_share import DominatedShare
from reports.analyses.pareto import find_axes, measured_on, pareto_points
from reports.provenance.rebuild import Front
from reports.results.board import Board, board_title
from reports.site import charts, content, links
from reports.site.charts import Dot
from reports.site.content import COST_LABELS, Site, quality_label, ranked_rows, row_link, row_name
from reports.site.html_table import (
    Cell,
    Column,
    Table,
    build_table,
    count,
    number,
    percent,
    text,
)
from reports.site.links import File
from reports.site.pages.leaderboard import rows_of
from reports.site.render import render_page
from reports.tables.pareto import shares_note

OTHER_SEEDS = "with other seeds"


def pareto_pages(site: Site) -> Iterator[File]:
    for board, front in zip(site.whole, site.fronts, strict=True):
        path = f"{links.board_folder(board)}/pareto.html"
        dots = {cost: front_dots(board, cost, front) for cost in content.cost_labels(board)}
        tables = [_table(board, found, cost) for cost, found in dots.items()]
        yield render_page(
            path,
            "pareto.html",
            f"Accuracy against cost: {board_title(board)}",
            [*tables, *([_shares(board, front)] if front.measured else ())],
            charts=[
                (
                    front_picture(board, found, cost, path, _name(cost)),
                    charts.method_switches((d.series for d in found), _name(cost)),
                    COST_LABELS[cost],
                    _name(cost),
                )
                for cost, found in dots.items()
            ],
            dominated=shares_note(front.measured, front.asked) if front.measured else "",
            board=board_title(board),
            where=measured_on(board),
            folder=links.board_folder(board),
        )


def front_picture(board: Board, dots: list[Dot], cost: str, page: str, name: str) -> Markup:
    """Return the chart of a board for a page at the path ``page``."""
    best = sorted((dots[i] for i in charts.on_front(dots)), key=lambda d: d.cost)
    quality, label = quality_label(board), COST_LABELS[cost]
    about = (
        f"{quality} against {label}, {len(dots)} configurations. On the front, cheapest"
        f" first: {', '.join(d.label for d in best)}. The table below has every number."
    )
    return charts.front_chart(dots, name, (label, f"{quality}, %"), about, page)


def _chances(board: Board, cost: str, front: Front) -> dict[str, float]:
    """Return the probability of each configuration to be on the front, by group."""
    known = front.asked.cost.name == cost
    points = front.panels[0]
    if not known:
        points = pareto_points(board, find_axes(board, cost, board.headline))
    return {p.group: p.chance for p in points}


def front_dots(board: Board, cost: str, front: Front) -> list[Dot]:
    """Return every configuration with its interval and its probability of being on the front.

    ``front`` is the front over trainable parameters, which is not computed again.
    """
    rows, chances = ranked_rows(board), _chances(board, cost, front)
    known = rows[f"{board.headline}_mean"].notna() & rows[f"{cost}_mean"].notna()
    dots = []
    for row in rows_of(rows[known]):
        chance, paid = chances[row["group"]], float(row[f"{cost}_mean"])
        low, mean, high = (float(row[f"{board.headline}_{end}"]) for end in ("low", "mean", "high"))
        half = "" if math.isnan(high) else f" ± {high - mean:.2f}"
        says = f"{row_name(row)}: {mean:.2f}{half} %, {COST_LABELS[cost]}"
        says += f" {paid:,.{1 if 'seconds' in cost else 0}f}"
        says += f", {int(row[f'{board.headline}_n'])} seeds"
        says += "" if math.isnan(chance) else f", probability of the front {chance:.0%}"
        href = row_link(board, row)
        dots.append(Dot(row["method"], row_name(row), paid, mean, says, href, low, high, chance))
    return dots


def _table(board: Board, dots: list[Dot], cost: str) -> Table:
    label, best = COST_LABELS[cost], {dots[i].href for i in charts.on_front(dots)}
    paid = (lambda d: number(d.cost, 1, d.href)) if "seconds" in cost else _count
    columns: dict[Column | str, Callable[[Dot], Cell | str]] = {
        text("method"): lambda d: Cell(d.label, d.href),
        label: paid,
        f"{quality_label(board)}, %": lambda d: number(d.mean, 2, d.href),
        "95 % from": lambda d: number(d.low, 2, d.href),
        "to": lambda d: number(d.high, 2, d.href),
        text("on the front"): lambda d: "yes" if d.href in best else "no",
        Column("P(on front)", about=f"probability, {OTHER_SEEDS}"): lambda d: percent(
            d.chance, 0, d.href
        ),
    }
    rows = sorted(dots, key=lambda d: (d.cost, -d.mean, d.label))
    caption = f"{quality_label(board)} and {label}"
    return build_table(f"{_name(cost)}-table", caption, rows, columns)


def _count(d: Dot) -> Cell:
    return count(d.cost, d.href)


def _shares(board: Board, front: Front) -> Table:
    """Return how much of the plane of trainable parameters each method dominates."""
    columns: dict[Column | str, Callable[[DominatedShare], Cell | str]] = {
        text("method"): lambda f: Cell(f.method, links.method(f.method)),
        "configurations": lambda f: str(f.points),
        "dominated": lambda f: percent(f.share, 1),
        "95 % from": lambda f: percent(f.low, 1),
        "to": lambda f: percent(f.high, 1),
        Column("P(largest)", about=f"probability, {OTHER_SEEDS}"): lambda f: percent(f.chance),
    }
    plane = f"{quality_label(board)} against trainable parameters"
    caption = f"Share of the plane, {plane}, that each method dominates"
    return build_table("families", caption, front.measured, columns)


def _name(cost: str) -> str:
    return "plane-" + cost.replace("/", "-").replace("_", "-")
