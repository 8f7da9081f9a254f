"""The leaderboard for a paper: booktabs, best bold, second underlined, equals alike."""

from reports.leaderboard import legend, title
from reports.table import Board
from reports.wide import Cell, wide

SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
SPECIAL |= {c: f"\\{c}" for c in "&%$#_{}"}


def table(board: Board) -> str:
    """A table environment; needs the packages booktabs and graphicx."""
    found = wide(board)
    heads = ["Rank", "Method", "Params", *found.heads]
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escape(title(board))}. {escape('; '.join(legend(board)))}.}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{rlr{'r' * len(found.heads)}}}",
        r"\toprule",
        " & ".join(escape(h) for h in heads) + r" \\",
        r"\midrule",
    ]
    rows = zip(found.ranks, found.names, found.parameters, found.cells, strict=True)
    for rank, name, parameters, cells in rows:
        first = [escape(rank), escape(name), escape(parameters)]
        lines.append(" & ".join([*first, *(_cell(c) for c in cells)]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def document(boards: list[Board]) -> str:
    """All boards, a table each, to be \\input."""
    head = "% \\usepackage{booktabs,graphicx}\n"
    return head + "\n".join(table(board) for board in boards)


def _cell(cell: Cell) -> str:
    mark = {1: r"\textbf{%s}", 2: r"\underline{%s}"}.get(cell.place, "%s")
    half = rf"\,{{\scriptsize$\pm${cell.half}}}" if cell.half else ""
    return mark % cell.text + half


def escape(text: str) -> str:
    """Text as LaTeX prints it."""
    plain = "".join(SPECIAL.get(c, c) for c in text)
    return plain.replace("±", r"$\pm$")
