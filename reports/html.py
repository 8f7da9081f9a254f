"""The leaderboard as one HTML file that needs nothing else: no script, no request."""

from html import escape

from reports.leaderboard import legend, title
from reports.table import Board
from reports.wide import Cell, wide

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


def page(boards: list[Board]) -> str:
    """All boards, a table each; best bold, second underlined."""
    body = "\n".join(_section(board) for board in boards)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>RingBench leaderboard</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>Leaderboard</h1>\n{body}\n</body>\n</html>\n"
    )


def _section(board: Board) -> str:
    found = wide(board)
    heads = ["rank", "method", "trainable", *found.heads]
    flagged = any(found.flags)
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in heads)
    head += '<th scope="col" class="flags">flags</th>' if flagged else ""
    lines = [
        f"<h2>{escape(title(board))}</h2>",
        '<div class="scroll"><table>',
        f"<thead><tr>{head}</tr></thead>",
        "<tbody>",
    ]
    rows = zip(found.ranks, found.names, found.parameters, found.cells, found.flags, strict=True)
    for rank, name, parameters, cells, flags in rows:
        first = "".join(f"<td>{escape(text)}</td>" for text in (rank, name, parameters))
        last = f'<td class="flags">{escape(flags)}</td>' if flagged else ""
        lines.append(f"<tr>{first}{''.join(_cell(c) for c in cells)}{last}</tr>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in (*board.notes, *legend(board)))
    return "\n".join([*lines, "</tbody>", "</table></div>", f"<ul>{notes}</ul>"])


def _cell(cell: Cell) -> str:
    tag = {1: "b", 2: "u"}.get(cell.place)
    text = f"<{tag}>{cell.text}</{tag}>" if tag else cell.text
    return f"<td>{text}" + (f" <small>± {cell.half}</small>" if cell.half else "") + "</td>"
