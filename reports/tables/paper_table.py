"""A board as papers print it: a row a method, a column a data set, then the averages."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import pandas as pd

from harness.spec.quantities import count_text
from reports.results.board import ACCURACY, AVERAGE, Board, board_title
from reports.tables.leaderboard import LABELS, MISSING, board_markdown, board_notes, boards_csv

# The order in which the field lists its data sets (CoOp, Zhou et al., 2022); others follow.
ORDER = (
    *("imagenet", "caltech101", "oxford_pets", "stanford_cars", "oxford_flowers", "food101"),
    *("fgvc_aircraft", "sun397", "dtd", "eurosat", "ucf101"),
)


class RankedCell(NamedTuple):
    """A printed number; ``place`` is 1 for the best of its column, 2 for the second, else 0.

    Equal as printed is equal in place.
    """

    text: str
    half: str  # half of the interval over seeds, or nothing
    place: int


class PaperTable(NamedTuple):
    """``heads`` name the columns of ``cells``; ``names``, ``ranks`` and ``flags`` go with rows."""

    heads: list[str]
    names: list[str]
    ranks: list[str]
    parameters: list[str]
    cells: list[list[RankedCell]]
    flags: list[str]


def field_order(datasets: Sequence[str]) -> list[str]:
    """Data sets in the field's order, unknown ones after them by name."""
    return sorted(datasets, key=lambda d: (ORDER.index(d) if d in ORDER else len(ORDER), d))


def build_paper_table(board: Board) -> PaperTable:
    """The ranking metric on each data set, then every accuracy of the average."""
    columns = [(d, board.headline) for d in field_order(board.datasets)]
    heads = [d for d, _ in columns]
    last = AVERAGE if len(board.datasets) > 1 else board.datasets[0]
    if last == AVERAGE or len(ACCURACY[board.protocol]) > 1:
        if last != AVERAGE:
            columns, heads = [], []
        columns += [(last, metric) for metric in ACCURACY[board.protocol]]
        heads += [f"{last} {LABELS[metric]}" for metric in ACCURACY[board.protocol]]
    main = board.rows[board.rows["dataset"] == last]
    rows = board.rows.set_index(["group", "dataset"])
    by_column = [
        _column([rows.loc[(group, d)] for group in main["group"]], metric) for d, metric in columns
    ]
    return PaperTable(
        heads,
        [f"{r['method']} {r['settings']}".strip() for _, r in main.iterrows()],
        [rank_text(r["rank"]) for _, r in main.iterrows()],
        [_count(r["params/trainable_mean"]) for _, r in main.iterrows()],
        [list(cells) for cells in zip(*by_column, strict=True)],
        main["flags"].tolist(),
    )


def rank_text(rank: float) -> str:
    return MISSING if math.isnan(rank) else str(int(rank))


def _column(rows: Sequence[pd.Series], metric: str) -> list[RankedCell]:
    means = [float(r[f"{metric}_mean"]) for r in rows]
    texts = [MISSING if math.isnan(m) else f"{m:.2f}" for m in means]
    best = sorted({t for t in texts if t != MISSING}, key=float, reverse=True)
    places = {text: i + 1 for i, text in enumerate(best[:2])}
    halves = [float(r[f"{metric}_high"] - r[f"{metric}_mean"]) for r in rows]
    return [
        RankedCell(text, "" if math.isnan(half) else f"{half:.2f}", places.get(text, 0))
        for text, half in zip(texts, halves, strict=True)
    ]


def _count(value: float) -> str:
    return MISSING if math.isnan(value) else count_text(value)


SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
SPECIAL |= {c: f"\\{c}" for c in "&%$#_{}"}


def latex_table(board: Board) -> str:
    """A table environment; needs the packages booktabs and graphicx."""
    found = build_paper_table(board)
    heads = ["Rank", "Method", "Params", *found.heads]
    caption = f"{board_title(board)}. {'; '.join(board_notes(board))}"
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{latex_escape(caption)}.}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{rlr{'r' * len(found.heads)}}}",
        r"\toprule",
        " & ".join(latex_escape(h) for h in heads) + r" \\",
        r"\midrule",
    ]
    rows = zip(found.ranks, found.names, found.parameters, found.cells, strict=True)
    for rank, name, parameters, cells in rows:
        first = [latex_escape(rank), latex_escape(name), latex_escape(parameters)]
        lines.append(" & ".join([*first, *(_latex_cell(c) for c in cells)]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def latex_document(boards: list[Board]) -> str:
    """All boards, a table each, to be \\input."""
    head = "% \\usepackage{booktabs,graphicx}\n"
    return head + "\n".join(latex_table(board) for board in boards)


def _latex_cell(cell: RankedCell) -> str:
    mark = {1: r"\textbf{%s}", 2: r"\underline{%s}"}.get(cell.place, "%s")
    half = rf"\,{{\scriptsize$\pm${cell.half}}}" if cell.half else ""
    return mark % cell.text + half


def latex_escape(text: str) -> str:
    """Text as LaTeX prints it."""
    plain = "".join(SPECIAL.get(c, c) for c in text)
    return plain.replace("±", r"$\pm$")


STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; }
th:nth-child(2), td:nth-child(2), .flags { text-align: left; }
thead th { border-bottom: 2px solid; border-top: 2px solid; }
tbody tr:last-child td { border-bottom: 2px solid; }
small { opacity: .75; }
"""


def html_page(boards: list[Board]) -> str:
    """All boards, a table each; best bold, second underlined."""
    body = "\n".join(_section(board) for board in boards)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>RingBench leaderboard</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>Leaderboard</h1>\n{body}\n</body>\n</html>\n"
    )


def _section(board: Board) -> str:
    found = build_paper_table(board)
    heads = ["rank", "method", "trainable", *found.heads]
    flagged = any(found.flags)
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in heads)
    head += '<th scope="col" class="flags">flags</th>' if flagged else ""
    lines = [
        f"<h2>{escape(board_title(board))}</h2>",
        '<div class="scroll"><table>',
        f"<thead><tr>{head}</tr></thead>",
        "<tbody>",
    ]
    rows = zip(found.ranks, found.names, found.parameters, found.cells, found.flags, strict=True)
    for rank, name, parameters, cells, flags in rows:
        first = "".join(f"<td>{escape(text)}</td>" for text in (rank, name, parameters))
        last = f'<td class="flags">{escape(flags)}</td>' if flagged else ""
        lines.append(f"<tr>{first}{''.join(_html_cell(c) for c in cells)}{last}</tr>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in (*board.notes, *board_notes(board)))
    return "\n".join([*lines, "</tbody>", "</table></div>", f"<ul>{notes}</ul>"])


def _html_cell(cell: RankedCell) -> str:
    tag = {1: "b", 2: "u"}.get(cell.place)
    text = f"<{tag}>{cell.text}</{tag}>" if tag else cell.text
    return f"<td>{text}" + (f" <small>± {cell.half}</small>" if cell.half else "") + "</td>"


def leaderboard_files(found: list[Board]) -> dict[str, str]:
    """leaderboard.md, .csv, .tex and .html."""
    # they print what is defined here

    return {
        "leaderboard.md": "# Leaderboard\n\n" + "\n".join(board_markdown(b) for b in found),
        "leaderboard.csv": boards_csv(found),
        "leaderboard.tex": latex_document(found),
        "leaderboard.html": html_page(found),
    }
