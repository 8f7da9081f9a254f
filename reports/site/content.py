"""What all pages share: the runs, the boards made of them, and the zero-shot runs."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.analyses import dominated_share, pareto
from reports.analyses.distributions import tables_of
from reports.provenance.rebuild import Front
from reports.results.annotations import REFERENCE_METHOD
from reports.results.board import DATA_HASHES, Board, boards
from reports.site import links
from reports.site.records import Source
from reports.tables.sentence import score_name

DETAIL_LIMIT = 2000  # finished runs beyond which only the best show answers and curve
COST = "params/trainable"
COST_LABELS = {
    COST: "trainable parameters",
    "params/inference": "parameters at inference",
    "time/train_seconds": "training time in seconds",
    "memory/peak_bytes": "peak memory in bytes",
}


@dataclass(frozen=True)
class Site:
    """Boards of a site: ``best`` has a row for each method, chosen by validation; ``whole`` has a
    row for each configuration. Both are in the same order."""

    source: Source
    best: list[Board]
    whole: list[Board]

    @property
    def runs(self) -> list[Run]:
        return self.source.runs

    @cached_property
    def finished(self) -> list[Run]:
        return [run for run in self.runs if run.finished]

    @cached_property
    def distributions(self) -> list[dict[str, pd.DataFrame]]:
        """For each board the tables about all its runs together."""
        return [tables_of(board) for board in self.best]

    @cached_property
    def fronts(self) -> list[Front]:
        """For each board the front of all configurations over trainable parameters."""
        return [_front(board) for board in self.whole]

    @cached_property
    def methods(self) -> list[str]:
        return sorted({run.tags["method"] for run in self.runs})

    @cached_property
    def detailed(self) -> set[str]:
        """Runs whose pages show their answers: all, or those of the best rows if very many."""
        if len(self.finished) <= DETAIL_LIMIT:
            return {run.id for run in self.finished}
        return {str(run) for board in self.best for run in board.cells["run_id"]}

    @cached_property
    def rows(self) -> dict[str, str]:
        """For each run the page of the row that it counts in."""
        return {
            str(run): links.row(board, str(group), str(method))
            for board in self.whole
            for run, group, method in zip(
                board.cells["run_id"], board.cells["group"], board.cells["method"], strict=True
            )
        }

    @cached_property
    def _zero_shot(self) -> dict[tuple[str, ...], Run]:
        return {
            key: run
            for run in self.finished
            if run.tags["method"] == REFERENCE_METHOD
            for key in (_key(run), (*_key(run), run.tags["seed"]))
        }

    def zero_shot(self, run: Run) -> Run | None:
        """Return the zero-shot run on the same data and weights, if possible of the same seed."""
        key = _key(run)
        return self._zero_shot.get((*key, run.tags["seed"])) or self._zero_shot.get(key)


def _front(board: Board) -> Front:
    """Return a front without points where no configuration has a whole grid."""
    axes = pareto.find_axes(board, COST, board.headline)
    points = pareto.pareto_points(board, axes)
    shares = dominated_share.dominated_shares(board, points, axes)
    return Front([points], shares, axes, per_data=False)


def _key(run: Run) -> tuple[str, ...]:
    names = ("protocol", "backbone", "dataset", "backbone_hash", *DATA_HASHES)
    return tuple(run.tags.get(name, "") for name in names)


def collect_site(source: Source) -> Site:
    """Return the boards of a source. Raises UsageError where no run is finished."""
    whole = boards(source.runs)
    if not whole:
        raise UsageError("no run is finished yet; run `ringbench suite` or `ringbench run` first")
    several = any(ranked_rows(board)["method"].duplicated().any() for board in whole)
    return Site(source, boards(source.runs, best=True) if several else whole, whole)


def ranked_rows(board: Board) -> pd.DataFrame:
    """Return the rows that are ranked: the averages, or those of the only data set."""
    return board.ranked()


def row_name(row: pd.Series) -> str:
    return f"{row['method']} {row['settings']}".strip()


def row_link(board: Board, row: pd.Series) -> str:
    return links.row(board, row["group"], row["method"])


def quality_label(board: Board) -> str:
    """Return the ranking accuracy in a word or two."""
    return score_name(board.headline)


def cost_labels(board: Board) -> dict[str, str]:
    """Return the costs to draw a board over: recorded for all rows, and not the same for all."""
    rows = ranked_rows(board)
    rows = rows[rows[f"{board.headline}_mean"].notna()]
    means = {cost: rows[f"{cost}_mean"] for cost in COST_LABELS if f"{cost}_mean" in rows}
    shown = [cost for cost, mean in means.items() if mean.notna().all() and mean.nunique() > 1]
    return {cost: COST_LABELS[cost] for cost in shown}
