"""Accuracy against cost: a picture a cost, every configuration a mark, and the same as a table."""

import math
from collections.abc import Iterator

from reports.leaderboard import title
from reports.pareto import where
from reports.site import model, places, plane
from reports.site.board_pages import count, number
from reports.site.model import Site
from reports.site.page import page
from reports.site.places import File
from reports.site.plane import Dot
from reports.site.tables import Cell, Head, Table
from reports.table import Board
from reports.verdict import OF


def pages(site: Site) -> Iterator[File]:
    for board in site.whole:
        path = f"{places.board(board)}/pareto.html"
        charts = [
            (
                picture(board, cost, label, path),
                plane.legend(_methods(board), _name(cost)),
                label,
                _name(cost),
            )
            for cost, label in model.quantities(board).items()
        ]
        tables = [_table(board, cost, label) for cost, label in model.quantities(board).items()]
        yield page(
            path,
            "pareto.html",
            f"Accuracy against cost: {title(board)}",
            tables,
            charts=charts,
            board=title(board),
            where=where(board),
            folder=places.board(board),
        )


def picture(board: Board, cost: str, label: str, path: str, name: str = "") -> str:
    """The plane of a board for a page at ``path``."""
    found = dots(board, cost)
    best = sorted((found[i] for i in plane.best(found)), key=lambda d: d.cost)
    about = (
        f"{quality(board)} against {label}, {len(found)} configurations. On the front, cheapest"
        f" first: {', '.join(d.label for d in best)}. The table below has every number."
    )
    return plane.picture(
        found, name or _name(cost), (label, f"{quality(board)}, %"), about, places.root(path)
    )


def dots(board: Board, cost: str) -> list[Dot]:
    """Every configuration with its interval."""
    rows = model.main(board)
    rows = rows[rows[f"{board.headline}_mean"].notna() & rows[f"{cost}_mean"].notna()]
    found = []
    for _, row in rows.iterrows():
        low, mean, high = (float(row[f"{board.headline}_{e}"]) for e in ("low", "mean", "high"))
        half = "" if math.isnan(high) else f" ± {high - mean:.2f}"
        says = f"{model.name(row)}: {mean:.2f}{half} %, {model.COSTS[cost]}"
        says += f" {row[f'{cost}_mean']:,.{0 if 'seconds' not in cost else 1}f},"
        says += f" {int(row[f'{board.headline}_n'])} seeds"
        at = places.row(board, row["group"], row["method"])
        found.append(
            Dot(
                row["method"],
                model.name(row),
                float(row[f"{cost}_mean"]),
                mean,
                low,
                high,
                says,
                at,
            )
        )
    return found


def quality(board: Board) -> str:
    """The ranking accuracy in a word or two."""
    return OF.get(board.headline, board.headline).removeprefix("points of ")


def _table(board: Board, cost: str, label: str) -> Table:
    found = dots(board, cost)
    on = plane.best(found)
    heads = [Head("method", "text"), Head(label), Head(f"{quality(board)}, %"), Head("95 % from")]
    heads += [Head("to"), Head("on the front", "text")]
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
            ]
        )
    return Table(f"{_name(cost)}-table", f"{quality(board)} and {label}", heads, rows)


def _methods(board: Board) -> list[str]:
    rows = model.main(board)
    return sorted(set(rows[rows[f"{board.headline}_mean"].notna()]["method"]))


def _name(cost: str) -> str:
    return "plane-" + cost.replace("/", "-").replace("_", "-")
