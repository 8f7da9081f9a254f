"""A board as papers print it: a row per method, a column per data set, then the averages."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import pandas as pd

from reports.results.board import Board, board_title
from reports.tables.columns import COSTS, KEYS, MISSING, column_label, mean_and_half
from reports.tables.leaderboard import board_markdown, board_notes, boards_csv

# The order in which the field lists its data sets (CoOp, Zhou et al., 2022); others follow.
ORDER = (
    *("imagenet", "caltech101", "oxford_pets", "stanford_cars", "oxford_flowers", "food101"),
    *("fgvc_aircraft", "sun397", "dtd", "eurosat", "ucf101"),
)


class RankedCell(NamedTuple):
    """A mean, half of its interval over seeds (or ""), and its place in the column.

    ``place`` is 1 for the best, 2 for the second, else 0. Equal texts have equal places.
    """

    text: str
    half: str
    place: int


class PaperTable(NamedTuple):
    """``heads`` name the columns of ``cells``; the other lists have an entry per row."""

    heads: list[str]
    names: list[str]
    ranks: list[str]
    parameters: list[str]
    cells: list[list[RankedCell]]
    flags: list[str]


def field_order(datasets: Sequence[str]) -> list[str]:
    """Return data sets in the field's order, others after them by name."""
    return sorted(datasets, key=lambda d: (ORDER.index(d) if d in ORDER else len(ORDER), d))


def build_paper_table(board: Board) -> PaperTable:
    """Return the headline on each data set, then every accuracy of the average."""
    summary = [(board.summary, metric) for metric in board.metrics]
    single = [(d, board.headline) for d in field_order(board.datasets)]
    if len(board.datasets) == 1:
        single, summary = ([], summary) if len(board.metrics) > 1 else (single, [])
    rows = board.rows.set_index(["group", "dataset"])
    ranked = board.ranked()
    columns = [
        _ranked_cells([rows.loc[(group, d)] for group in ranked["group"]], metric)
        for d, metric in [*single, *summary]
    ]
    lines = [line for _, line in ranked.iterrows()]
    return PaperTable(
        [*(d for d, _ in single), *(f"{d} {column_label(m)}" for d, m in summary)],
        [f"{line['method']} {line['settings']}".strip() for line in lines],
        [KEYS[0].text(line) or MISSING for line in lines],
        [COSTS[0].text(line) for line in lines],
        [list(cells) for cells in zip(*columns, strict=True)],
        ranked["flags"].tolist(),
    )


def _ranked_cells(rows: Sequence[pd.Series], metric: str) -> list[RankedCell]:
    pairs = [mean_and_half(row, metric) for row in rows]
    best = sorted({text for text, _ in pairs if text != MISSING}, key=float, reverse=True)
    places = {text: i + 1 for i, text in enumerate(best[:2])}
    return [RankedCell(text, half, places.get(text, 0)) for text, half in pairs]


SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
SPECIAL |= {c: f"\\{c}" for c in "&%$#_{}"} | {"±": r"$\pm$"}


def latex_escape(text: str) -> str:
    """Escape the special characters of LaTeX."""
    return "".join(SPECIAL.get(c, c) for c in text)


def latex_table(board: Board) -> str:
    """Return a table environment; it needs the packages booktabs and graphicx."""
    table = build_paper_table(board)
    caption = latex_escape(f"{board_title(board)}. {'; '.join(board_notes(board))}")
    heads = map(latex_escape, ("Rank", "Method", "Params", *table.heads))
    texts = zip(table.ranks, table.names, table.parameters, strict=True)
    body = [
        " & ".join([*map(latex_escape, first), *map(_latex_cell, cells)]) + r" \\"
        for first, cells in zip(texts, table.cells, strict=True)
    ]
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{caption}.}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{rlr{'r' * len(table.heads)}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def latex_document(boards: Sequence[Board]) -> str:
    """Return a table for each board, to be \\input."""
    head = "% \\usepackage{booktabs,graphicx}\n"
    return head + "\n".join(latex_table(board) for board in boards)


def _latex_cell(cell: RankedCell) -> str:
    mark = {1: r"\textbf{%s}", 2: r"\underline{%s}"}.get(cell.place, "%s")
    half = rf"\,{{\scriptsize$\pm${cell.half}}}" if cell.half else ""
    return mark % cell.text + half


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>RingBench leaderboard</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.45 system-ui, sans-serif; }}
body {{ margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .3rem .6rem; text-align: right; white-space: nowrap; }}
th:nth-child(2), td:nth-child(2), .flags {{ text-align: left; }}
thead th {{ border-bottom: 2px solid; border-top: 2px solid; }}
tbody tr:last-child td {{ border-bottom: 2px solid; }}
small {{ opacity: .75; }}
</style>
</head>
<body>
<h1>Leaderboard</h1>
{}
</body>
</html>
"""


def html_page(boards: Sequence[Board]) -> str:
    """Return a page with a table for each board; best bold, second underlined."""
    return PAGE.format("\n".join(_html_section(board) for board in boards))


def _html_section(board: Board) -> str:
    table = build_paper_table(board)
    flagged = any(table.flags)
    heads = "".join(
        f'<th scope="col">{escape(h)}</th>' for h in ("rank", "method", "trainable", *table.heads)
    )
    heads += '<th scope="col" class="flags">flags</th>' if flagged else ""
    lines = []
    rows = zip(table.ranks, table.names, table.parameters, table.cells, table.flags, strict=True)
    for *first, cells, flags in rows:
        texts = [f"<td>{escape(str(text))}</td>" for text in first] + [*map(_html_cell, cells)]
        texts += [f'<td class="flags">{escape(flags)}</td>'] if flagged else []
        lines.append(f"<tr>{''.join(texts)}</tr>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in (*board.notes, *board_notes(board)))
    body = "\n".join(lines)
    return (
        f"<h2>{escape(board_title(board))}</h2>\n"
        f'<div class="scroll"><table>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n<ul>{notes}</ul>"
    )


def _html_cell(cell: RankedCell) -> str:
    tag = {1: "b", 2: "u"}.get(cell.place)
    text = f"<{tag}>{cell.text}</{tag}>" if tag else cell.text
    return f"<td>{text}" + (f" <small>± {cell.half}</small>" if cell.half else "") + "</td>"


def leaderboard_files(boards: Sequence[Board]) -> dict[str, str]:
    """Return leaderboard.md, .csv, .tex and .html as texts."""
    return {
        "leaderboard.md": "# Leaderboard\n\n" + "\n".join(board_markdown(b) for b in boards),
        "leaderboard.csv": boards_csv(boards),
        "leaderboard.tex": latex_document(boards),
        "leaderboard.html": html_page(boards),
    }
