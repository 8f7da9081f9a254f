"""The trials of a sweep and its runs, read from the stored record."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.tracking.run_record import Run
from harness.tracking.sweep_record import read_sweep
from methods.kit.core.errors import UsageError

COST = "params/trainable"


@dataclass(frozen=True)
class Sweep:
    """A sweep: its facts, and a row per trial that ended, in order."""

    facts: dict[str, Any]
    trials: pd.DataFrame

    @property
    def name(self) -> str:
        return str(self.facts["name"])

    @property
    def keys(self) -> list[str]:
        return list(self.facts["dims"])

    @property
    def quality(self) -> str:
        """The accuracy among the objectives, else the first of them."""
        objectives: list[str] = self.facts["objectives"]
        return next((o for o in objectives if o.startswith("acc/")), objectives[0])

    @property
    def cost(self) -> str:
        """The other objective, else the number of trainable parameters."""
        return next((o for o in self.facts["objectives"] if o != self.quality), COST)

    @property
    def complete(self) -> pd.DataFrame:
        return self.trials[self.trials["end"] == "complete"].reset_index(drop=True)

    @property
    def digests(self) -> set[str]:
        """The run ids of its trials; sweeps of older versions have none."""
        return {d for row in self.trials.to_dict("records") for d in trial_digests(row)}

    def behind(self, runs: Iterable[Run]) -> list[Run]:
        """Return the finished runs of its trials; several of one id where a run was repeated."""
        digests = self.digests
        return [r for r in runs if r.digest in digests and r.status == "finished"]


def load_sweep(name: str) -> Sweep:
    """Return a sweep by name. Raises UsageError for none of that name, or no complete trial."""
    record = read_sweep(name)
    if record.is_comparison:
        parts = ", ".join(record.parts)
        raise UsageError(f"{name} is an equal-budget comparison; its sweeps: {parts}")
    sweep = Sweep(record.facts, record.trials())
    if sweep.complete.empty:
        raise UsageError(f"sweep {name}: no trial is complete yet")
    return sweep


def trial_digests(trial: dict[str, Any]) -> list[str]:
    """Return the run ids of a trial, from its row."""
    stored = trial.get("digests")
    return stored.split() if isinstance(stored, str) else []
