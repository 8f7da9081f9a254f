"""The stored files of a sweep (``sweep.json``, ``trials.csv``): their folder and their reader.

``sweep.json`` describes a sweep, or an equal-budget comparison, which has a sweep for each
candidate and no trials of its own. ``trials.csv`` has a row for each trial that ended, in order.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.spec.paths import home_folder, home_path
from methods.kit.core.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

FACTS, TRIALS = "sweep.json", "trials.csv"
SWEEP, COMPARISON = "sweep", "contest"  # the stored values of "kind"


@dataclass(frozen=True)
class SweepRecord:
    """The stored record of a sweep or of an equal-budget comparison."""

    folder: Path
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.facts["name"])

    @property
    def is_comparison(self) -> bool:
        return bool(self.facts["kind"] == COMPARISON)

    @property
    def parts(self) -> list[str]:
        """The names of the sweeps of a comparison."""
        return [str(candidate["sweep"]) for candidate in self.facts["methods"]]

    @property
    def trials_text(self) -> str:
        """``trials.csv`` as it is stored; empty where there is none."""
        file = self.folder / TRIALS
        return file.read_text() if file.is_file() else ""

    def trials(self) -> "pd.DataFrame":
        """A row for each trial that ended, in order."""
        import pandas as pd

        return pd.read_csv(self.folder / TRIALS, keep_default_na=True)

    def trial_count(self) -> int:
        """The number of trials that ended."""
        return max(0, sum(1 for _ in csv.reader(self.trials_text.splitlines(True))) - 1)


def sweep_folder(name: str, create: bool = False) -> Path:
    """The folder of a sweep's files."""
    folder = (home_folder() if create else home_path()) / "sweeps" / name
    if create:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def sweep_names() -> tuple[str, ...]:
    """The sweeps and equal-budget comparisons that are stored here, sorted."""
    return tuple(sorted(path.parent.name for path in sweep_folder("").glob(f"*/{FACTS}")))


def read_sweep(name: str) -> SweepRecord:
    """Read the record of a sweep or comparison. Raises UsageError for an unknown name."""
    if name not in sweep_names():
        raise unknown(f"sweep {name!r}", name, sweep_names())
    folder = sweep_folder(name)
    return SweepRecord(folder, json.loads((folder / FACTS).read_text()))
