"""What a person sees: tables, progress, and one line when something is wrong."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from harness.data import progress

if TYPE_CHECKING:
    from harness.train.fit import EpochRow

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

MANY = 2000  # images that take long enough to say so
PIPE_WIDTH = 240  # a pipe has no width; wide enough for every column


def say(text: str) -> None:
    """A line for the person; not part of what a pipe reads."""
    err.print(text, soft_wrap=True, markup=False)


def as_json(value: Any) -> None:
    """Machine-readable output, alone on standard output."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    title: str = "",
    optional: Sequence[str] = (),
) -> None:
    """A rich table; columns whose cells are all numbers are right-aligned.

    Where it is wider than the terminal, ``optional`` columns go, the first named first, and a line
    below says which.
    """
    target = out if out.is_terminal else Console(highlight=False, width=PIPE_WIDTH, no_color=True)
    gone: list[str] = []
    shown = _table(columns, rows, title)
    for name in (c for c in optional if c in columns):
        if _fits(shown, target):
            break
        gone.append(name)
        kept = [i for i, column in enumerate(columns) if column not in gone]
        shown = _table([columns[i] for i in kept], [[row[i] for i in kept] for row in rows], title)
    if not _fits(shown, target):
        for column in shown.columns:
            column.no_wrap = False  # folded cells lose nothing, cropped ones do
    target.print(shown)
    if gone:
        say(f"  no room here for: {', '.join(c for c in columns if c in gone)}")


def _fits(shown: Table, target: Console) -> bool:
    unbounded = target.options.update(max_width=10_000)
    return target.measure(shown, options=unbounded).maximum <= target.width


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str) -> Table:
    made = Table(
        title=title or None,
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for i, name in enumerate(columns):
        numeric = all(_numeric(row[i]) for row in rows)
        short = max((len(str(row[i])) for row in rows), default=0) <= 20
        justify: JustifyMethod = "right" if numeric else "left"
        made.add_column(name, justify=justify, overflow="fold", no_wrap=short)
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


class ProgressBars:
    """Progress of a list of runs: one bar over runs, one over the epochs of the present run.

    Without a terminal it prints a plain line a run instead.
    """

    def __init__(self, total: int, quiet: bool = False) -> None:
        self.total, self.quiet = total, quiet
        self.live = err.is_terminal and not quiet
        self.done = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=err,
            transient=True,
        )
        self._work: dict[str, TaskID] = {}
        self._runs: TaskID | None = None
        self._epochs: TaskID | None = None

    @contextmanager
    def shown(self) -> Iterator["ProgressBars"]:
        with progress.reported_to(self._hear):
            yield from self._shown()

    def _shown(self) -> Iterator["ProgressBars"]:
        if not self.live:
            yield self
            return
        with self._progress:
            if self.total > 1:
                self._runs = self._progress.add_task("runs", total=self.total, note="")
            yield self

    def _hear(self, what: str, done: int, total: int) -> None:
        """Work below a run is so far: a bar, or a line when it begins and would take a while."""
        if self.live:
            if what not in self._work:
                self._work[what] = self._progress.add_task(what, total=total, note="")
            self._progress.update(self._work[what], total=total, completed=done)
            if done >= total:
                self._progress.remove_task(self._work.pop(what))
        elif not self.quiet and total >= MANY and what not in self._work:
            self._work[what] = TaskID(len(self._work))
            say(f"{what}: {total:,} images")

    def start(self, name: str) -> None:
        """A run begins."""
        self._began = time.monotonic()
        if self.live:
            self._epochs = self._progress.add_task(name, total=None, note="")

    def epoch(self, row: "EpochRow") -> None:
        """An epoch of the present run is over."""
        if self.live and self._epochs is not None:
            note = f"loss {row.loss:.3f}  train acc {row.accuracy:.1f}"
            self._progress.update(
                self._epochs, total=row.epochs, completed=row.epoch + 1, note=note
            )

    def end(self, line: str) -> None:
        """A run is over; ``line`` says how it went."""
        self.done += 1
        if self.live and self._epochs is not None:
            self._progress.remove_task(self._epochs)
            self._epochs = None
        if self.live and self._runs is not None:
            self._progress.update(self._runs, completed=self.done)
        if not self.quiet:
            prefix = f"[{self.done}/{self.total}] " if self.total > 1 else ""
            self._progress.console.print(prefix + line, markup=False, soft_wrap=True)


def _numeric(value: Any) -> bool:
    text = str(value)
    return text in ("", "-", "*") or text[0].isdigit() or (text[0] in "-+" and text[1:2].isdigit())


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
