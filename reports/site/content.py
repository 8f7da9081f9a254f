"""What all pages share: the runs, the boards made of them, and who stands beside whom."""

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

DETAIL_LIMIT = 2000  # finished runs beyond which not every page shows answers and curve
COST = "params/trainable"
COST_LABELS = {
    COST: "trainable parameters",
    "params/inference": "parameters at inference",
    "time/train_seconds": "training time in seconds",
    "memory/peak_bytes": "peak memory in bytes",
}


@dataclass(frozen=True)
class Site:
    """``best`` has a row a method, chosen by validation, ``whole`` a row a configuration, both in
    the same order of boards."""

    source: Source
    best: list[Board]
    whole: list[Board]

    @property
    def runs(self) -> list[Run]:
        return self.source.runs

    @cached_property
    def finished(self) -> list[Run]:
        return [run for run in self.runs if run.status == "finished"]

    @cached_property
    def distributions(self) -> list[dict[str, pd.DataFrame]]:
        """For each board what is said of all its runs together."""
        return [tables_of(board) for board in self.best]

    @cached_property
    def fronts(self) -> list[Front]:
        """The front of every configuration of each board over trainable parameters."""
        return [_front(board) for board in self.whole]

    @cached_property
    def methods(self) -> list[str]:
        return sorted({run.tags["method"] for run in self.runs})

    @cached_property
    def detailed(self) -> set[str]:
        """Runs whose pages show what they answered: all, or of very many those of the best rows."""
        if len(self.finished) <= DETAIL_LIMIT:
            return {run.id for run in self.finished}
        return {str(run) for board in self.best for run in board.cells["run_id"]}

    @cached_property
    def rows(self) -> dict[str, str]:
        """For each run that stands behind a row its page."""
        return {
            str(run): links.row(board, str(group), str(method))
            for board in self.whole
            for run, group, method in zip(
                board.cells["run_id"], board.cells["group"], board.cells["method"], strict=True
            )
        }

    @cached_property
    def _zero(self) -> dict[tuple[str, ...], Run]:
        return {
            key: run
            for run in self.finished
            if run.tags["method"] == REFERENCE_METHOD
            for key in (_key(run), (*_key(run), run.tags["seed"]))
        }

    def zero_shot(self, run: Run) -> Run | None:
        """The zero-shot run on the same data and weights, of the same seed if there is one."""
        return self._zero.get((*_key(run), run.tags["seed"])) or self._zero.get(_key(run))


def _front(board: Board) -> Front:
    """Without points where no configuration has a whole grid."""
    asked = pareto.find_axes(board, COST, board.headline)
    found = pareto.pareto_points(board, asked)
    return Front(
        [found], dominated_share.dominated_shares(board, found, asked), asked, per_data=False
    )


def _key(run: Run) -> tuple[str, ...]:
    names = ("protocol", "backbone", "dataset", "backbone_hash", *DATA_HASHES)
    return tuple(run.tags.get(name, "") for name in names)


def collect_site(source: Source) -> Site:
    """Raises UsageError where nothing is finished."""
    whole = boards(source.runs)
    if not whole:
        raise UsageError("no run is finished yet; run `ringbench suite` or `ringbench run` first")
    several = any(ranked_rows(board)["method"].duplicated().any() for board in whole)
    return Site(source, boards(source.runs, best=True) if several else whole, whole)


def ranked_rows(board: Board) -> pd.DataFrame:
    """The rows that are ranked: the averages, or those of the only data set."""
    return board.ranked()


def row_name(row: pd.Series) -> str:
    return f"{row['method']} {row['settings']}".strip()


def cost_labels(board: Board) -> dict[str, str]:
    """The costs that a board can be drawn over: recorded, and not the same for all."""
    rows = ranked_rows(board)
    known = rows[rows[f"{board.headline}_mean"].notna()]
    return {
        cost: label
        for cost, label in COST_LABELS.items()
        if f"{cost}_mean" in known
        and known[f"{cost}_mean"].notna().all()
        and known[f"{cost}_mean"].nunique() > 1
    }
