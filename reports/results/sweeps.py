"""A sweep's files (sweeps/study/files.py) as tables: front, hypervolume, map, importances,
curves."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.spec.paths import home_folder
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError, unknown

COST = "params/trainable"


@dataclass(frozen=True)
class Sweep:
    """What is stored of a sweep: facts, and a row a trial that ended, in order."""

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
        aims: list[str] = self.facts["objectives"]
        return next((a for a in aims if a.startswith("acc/")), aims[0])

    @property
    def cost(self) -> str:
        """The other objective, else the parameters that train."""
        aims: list[str] = self.facts["objectives"]
        return next((a for a in aims if a != self.quality), COST)

    @property
    def complete(self) -> pd.DataFrame:
        return self.trials[self.trials["end"] == "complete"].reset_index(drop=True)

    @property
    def digests(self) -> set[str]:
        """Of the runs of its trials; none are known of sweeps that older versions wrote."""
        return {d for row in self.trials.to_dict("records") for d in digests_of(row)}

    def behind(self, runs: Iterable[Run]) -> list[Run]:
        """The finished runs of its trials; several of one digest where one was repeated."""
        wanted = self.digests
        return [r for r in runs if r.digest in wanted and r.status == "finished"]


def names() -> tuple[str, ...]:
    """The sweeps and contests that are stored here."""
    return tuple(sorted(p.parent.name for p in (home_folder() / "sweeps").glob("*/sweep.json")))


def facts_of(name: str) -> dict[str, Any]:
    """What is stored of a sweep or contest. Raises UsageError for an unknown one."""
    if name not in names():
        raise unknown(f"sweep {name!r}", name, names())
    facts: dict[str, Any] = json.loads((_folder(name) / "sweep.json").read_text())
    return facts


def read_sweep(name: str) -> Sweep:
    """A sweep by name. Raises UsageError when there is none, or nothing ended in it yet."""
    facts = facts_of(name)
    if facts["kind"] != "sweep":
        raise UsageError(f"{name} is a contest of sweeps; its sweeps: {', '.join(parts(facts))}")
    found = Sweep(facts, pd.read_csv(_folder(name) / "trials.csv", keep_default_na=True))
    if found.complete.empty:
        raise UsageError(f"sweep {name}: no trial is complete yet")
    return found


def digests_of(trial: dict[str, Any]) -> list[str]:
    """The digests of a trial's runs, from its row."""
    said = trial.get("digests")
    return said.split() if isinstance(said, str) else []


def parts(contest: dict[str, Any]) -> list[str]:
    """The sweeps of a contest."""
    return [m["sweep"] for m in contest["methods"]]


def _folder(name: str) -> Path:
    return home_folder() / "sweeps" / name
