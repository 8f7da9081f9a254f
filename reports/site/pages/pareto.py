"""Accuracy against cost: a picture a cost, every configuration a mark, and the same as a table."""

import math
from collections.abc import Iterator

from reports.analyses.pareto import find_axes, measured_on, pareto_points
from reports.provenance.rebuild import Front
from reports.results.board import Board, board_title
from reports.site import content, links
from reports.site.charts import pareto
from reports.site.charts.pareto import Dot
from reports.site.content import Site
from reports.site.html_table import Cell, Column, Table
from reports.site.links import File
from reports.site.pages.leaderboard import count, number
from reports.site.render import render_page
from reports.tables.pareto import shares_note
from reports.tables.sentence import score_name


def pareto_pages(site: Site) -> Iterator[File]:
    for board, front in zip(site.whole, site.fronts, strict=True):
        path = f"{links.board_link(board)}/pareto.html"
        costs = content.cost_labels(board)
        found = {cost: dots(board, cost, front) for cost in costs}
        charts = [
            (
                picture(board, found[cost], label, path, _name(cost)),
                pareto.legend(_methods(board), _name(cost)),
                label,
                _name(cost),
            )
            for cost, label in costs.items()
        ]
        tables = [_table(board, found[cost], cost, label) for cost, label in costs.items()]
        tables += [_families(board, front)] if front.measured else []
        yield render_page(
            path,
            "pareto.html",
            f"Accuracy against cost: {board_title(board)}",
            tables,
            charts=charts,
            dominated=shares_note(front.measured, front.asked) if front.measured else "",
            board=board_title(board),
            where=measured_on(board),
            folder=links.board_link(board),
        )


def picture(board: Board, found: list[Dot], label: str, path: str, name: str) -> str:
    """The plane of a board for a page at ``path``."""
    best = sorted((found[i] for i in pareto.best(found)), key=lambda d: d.cost)
    about = (
        f"{quality(board)} against {label}, {len(found)} configurations. On the front, cheapest"
        f" first: {', '.join(d.label for d in best)}. The table below has every number."
    )
    return pareto.picture(
        found, name, (label, f"{quality(board)}, %"), about, links.path_to_root(path)
    )


def dots(board: Board, cost: str, front: Front) -> list[Dot]:
    """Every configuration with its interval and its chance of being on the front; ``front`` is the
    one over trainable parameters."""
    rows = content.ranked_rows(board)
    rows = rows[rows[f"{board.headline}_mean"].notna() & rows[f"{cost}_mean"].notna()]
    known = front.asked.cost.name == cost
    judged = (
        front.panels[0] if known else pareto_points(board, find_axes(board, cost, board.headline))
    )
    chances = {p.group: p.chance for p in judged}
    found = []
    for _, row in rows.iterrows():
        chance = chances[row["group"]]
        low, mean, high = (float(row[f"{board.headline}_{e}"]) for e in ("low", "mean", "high"))
        half = "" if math.isnan(high) else f" ± {high - mean:.2f}"
        says = f"{content.row_name(row)}: {mean:.2f}{half} %, {content.COST_LABELS[cost]}"
        says += f" {row[f'{cost}_mean']:,.{0 if 'seconds' not in cost else 1}f},"
        says += f" {int(row[f'{board.headline}_n'])} seeds"
        says += "" if math.isnan(chance) else f", chance of the front {chance:.0%}"
        at = links.row(board, row["group"], row["method"])
        found.append(
            Dot(
                row["method"],
                content.row_name(row),
                float(row[f"{cost}_mean"]),
                mean,
                low,
                high,
                says,
                chance,
                at,
            )
        )
    return found


def quality(board: Board) -> str:
    """The ranking accuracy in a word or two."""
    return score_name(board.headline)


def _table(board: Board, found: list[Dot], cost: str, label: str) -> Table:
    on = pareto.best(found)
    heads = [
        Column("method", "text"),
        Column(label),
        Column(f"{quality(board)}, %"),
        Column("95 % from"),
    ]
    heads += [Column("to"), Column("on the front", "text")]
    heads += [Column("chance of it", about="were the seeds others")]
    rows = []
    for i in sorted(
        range(len(found)), key=lambda i: (found[i].cost, -found[i].mean, found[i].label)
    ):
        d = found[i]
        rows.append(
            [
                Cell(d.label, d.href),
                number(d.cost, 1, d.href) if "seconds" in cost else count(d.cost, d.href),
                number(d.mean, 2, d.href),
                number(d.low, 2, d.href),
                number(d.high, 2, d.href),
                Cell("yes" if i in on else "no"),
                _percent(d.chance, 0, d.href),
            ]
        )
    return Table(f"{_name(cost)}-table", f"{quality(board)} and {label}", heads, rows)


def _families(board: Board, front: Front) -> Table:
    """How much of the plane of trainable parameters each method dominates."""
    heads = [Column("method", "text"), Column("configurations"), Column("dominated")]
    heads += [
        Column("95 % from"),
        Column("to"),
        Column("chance of most", about="were the seeds others"),
    ]
    rows = [
        [
            Cell(f.method, links.method(f.method)),
            Cell(str(f.points)),
            _percent(f.share, 1),
            _percent(f.low, 1),
            _percent(f.high, 1),
            _percent(f.chance, 0),
        ]
        for f in front.measured
    ]
    caption = f"How much of {quality(board)} against trainable parameters each method dominates"
    return Table("families", caption, heads, rows)


def _percent(share: float, digits: int, href: str = "") -> Cell:
    if math.isnan(share):
        return Cell("-")
    return Cell(f"{share:.{digits}%}", href, value=share)


def _methods(board: Board) -> list[str]:
    rows = content.ranked_rows(board)
    return sorted(set(rows[rows[f"{board.headline}_mean"].notna()]["method"]))


def _name(cost: str) -> str:
    return "plane-" + cost.replace("/", "-").replace("_", "-")
