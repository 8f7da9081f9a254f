"""One recorded run, as readers of the ledger see it."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.run.result import ONLY_VAL

RECORD_TAG = "spool_entry"  # the tag that marks our runs: the name of the pending record
CHECKPOINT_PREFIX = "midway/"  # before the name of a validation score, in its series over epochs


@dataclass(frozen=True)
class Run:
    """One row of the ledger; ``started`` in seconds since 1970."""

    id: str
    status: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    started: float

    @property
    def digest(self) -> str:
        return self.tags.get("digest", "")

    @property
    def tested(self) -> bool:
        """False for a run that served to choose settings on validation data."""
        return self.tags.get("selection") != ONLY_VAL

    @property
    def finished(self) -> bool:
        return self.status == "finished"


def run_from_mlflow(
    run_id: str,
    milliseconds: int,
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> Run:
    """Return a run from what MLflow stores of it; ``milliseconds`` since 1970 when it started."""
    scores = {k: v for k, v in metrics.items() if not k.startswith(CHECKPOINT_PREFIX)}
    status = tags.get("status", "running")
    return Run(run_id, status, dict(params), scores, dict(tags), milliseconds / 1000)
