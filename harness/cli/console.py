"""What a person sees: tables, progress bars, and one line when something is wrong."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from rich import progress as rich_progress
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harness.data import progress

if TYPE_CHECKING:
    from harness.train.fit import EpochRow

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

MANY_IMAGES = 2000  # take long enough to say so where no bar is shown
PIPE_WIDTH = 240  # wide enough for every column
NARROW = 20  # characters of a cell that is never folded


def say(text: str) -> None:
    """Print a line on standard error, which a pipe does not read."""
    err.print(text, soft_wrap=True, markup=False)


def as_json(value: Any) -> None:
    """Print a value as JSON, alone on standard output."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def records(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries, for JSON."""
    return [dict(zip(columns, row, strict=True)) for row in rows]


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    title: str = "",
    optional: Sequence[str] = (),
) -> None:
    """Print a table; columns of numbers are aligned to the right.

    Where it is wider than the terminal, ``optional`` columns are left out, the first named first,
    and a line below names them.
    """
    target = out if out.is_terminal else Console(highlight=False, width=PIPE_WIDTH, no_color=True)
    left_out: list[str] = []
    shown = _table(columns, rows, title)
    for name in (c for c in optional if c in columns):
        if _fits(shown, target):
            break
        left_out.append(name)
        places = [i for i, column in enumerate(columns) if column not in left_out]
        cells = [[row[i] for i in places] for row in rows]
        shown = _table([columns[i] for i in places], cells, title)
    if not _fits(shown, target):
        for column in shown.columns:
            column.no_wrap = False  # a folded cell loses nothing, a cropped one does
    target.print(shown)
    if left_out:
        say(f"  no room here for: {', '.join(c for c in columns if c in left_out)}")


def _fits(shown: Table, target: Console) -> bool:
    unbounded = target.options.update(max_width=10_000)
    return target.measure(shown, options=unbounded).maximum <= target.width


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str) -> Table:
    shown = Table(
        title=title or None,
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name, *cells in zip(columns, *rows, strict=True):
        narrow = all(len(str(cell)) <= NARROW for cell in cells)
        justify = "right" if all(map(_is_number, cells)) else "left"
        shown.add_column(name, justify=justify, overflow="fold", no_wrap=narrow)  # type: ignore[arg-type]
    for row in rows:
        shown.add_row(*map(_cell, row))
    return shown


def _is_number(value: Any) -> bool:
    text = str(value)
    return text in ("", "-", "*") or text.lstrip("+-")[:1].isdigit()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


class ProgressBars:
    """Progress of a list of runs: a bar over runs and a bar over the epochs of the current run.

    Where standard error is no terminal, a line is printed for each run instead.
    """

    def __init__(self, total: int, quiet: bool = False) -> None:
        self.total, self.quiet, self.done = total, quiet, 0
        self._bars = rich_progress.Progress(
            "{task.description}",
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TimeRemainingColumn(),
            "{task.fields[note]}",
            console=err,
            transient=True,
            disable=quiet or not err.is_terminal,
        )
        self._runs = self._bars.add_task("runs", total=total, visible=total > 1, note="")
        self._run: rich_progress.TaskID | None = None
        self._work: dict[str, rich_progress.TaskID] = {}

    @contextmanager
    def shown(self) -> Iterator["ProgressBars"]:
        """Show the bars inside the context."""
        bars = nullcontext() if self._bars.disable else self._bars
        with progress.reported_to(self._report), bars:
            yield self

    def _report(self, what: str, done: int, total: int) -> None:
        """Show how far work inside a run is, such as decoding images."""
        if what not in self._work:
            self._work[what] = self._bars.add_task(what, total=total, note="")
            if self._bars.disable and not self.quiet and total >= MANY_IMAGES:
                say(f"{what}: {total:,} images")
        self._bars.update(self._work[what], total=total, completed=done, visible=done < total)

    def start(self, name: str) -> None:
        """A run begins."""
        self._run = self._bars.add_task(name, total=None, note="")

    def epoch(self, row: "EpochRow") -> None:
        """An epoch of the current run is over."""
        if self._run is not None:
            note = f"loss {row.loss:.3f}  train acc {row.accuracy:.1f}"
            self._bars.update(self._run, total=row.epochs, completed=row.epoch + 1, note=note)

    def end(self, line: str) -> None:
        """A run is over; ``line`` summarizes it."""
        self.close_run()
        self.done += 1
        self._bars.update(self._runs, completed=self.done)
        if not self.quiet:
            prefix = f"[{self.done}/{self.total}] " if self.total > 1 else ""
            err.print(prefix + line, markup=False, soft_wrap=True)

    def close_run(self) -> None:
        """Remove the bar of the current run."""
        if self._run is not None:
            self._bars.remove_task(self._run)
            self._run = None
