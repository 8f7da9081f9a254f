"""A sweep as plain files, for reports and for anybody: sweep.json and trials.csv."""

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from harness.spec import paths
from harness.tracking.sweep_record import FACTS, SWEEP, TRIALS, sweep_folder
from sweeps.study.heartbeat import SAMPLED
from sweeps.study.optuna_study import Study, decoded
from sweeps.study.sweep_plan import SweepPlan


def write(study: Study) -> Path:
    """Write both files, each whole or not at all; returns their folder."""
    place = sweep_folder(study.plan.name, create=True)
    facts = study.plan.as_dict() | {
        "kind": SWEEP,
        "digest": study.plan.digest(),
        "storage": paths.without_password(study.url),
        "importances": study.importances(),
        "grid": study.plan.space.grids(),
    }
    table = pd.DataFrame(rows(study), columns=_columns(study.plan))
    put(place / TRIALS, table.to_csv(index=False, lineterminator="\n"))
    put(place / FACTS, json.dumps(facts, indent=2) + "\n")
    return place


def rows(study: Study) -> list[dict[str, Any]]:
    """One row an ended trial, in order: settings, how it ended, what it reached and cost."""
    return [_row(study, t, order) for order, t in enumerate(study.ended())]


def _row(study: Study, trial: FrozenTrial, order: int) -> dict[str, Any]:
    plan, facts = study.plan, trial.user_attrs
    complete = trial.state == TrialState.COMPLETE
    settings: dict[str, Any] = dict.fromkeys(plan.space.keys, "")
    if SAMPLED in facts:  # else it was cut short while its settings were drawn
        found = decoded(plan, trial.params)
        settings |= {k: json.dumps(v) if isinstance(v, list) else v for k, v in found.items()}
    known: dict[str, Any] = facts.get("metrics", {}) if complete else facts.get("counts", {})
    return {
        "order": order,
        "number": trial.number,
        "end": facts.get("end", trial.state.name.lower()),
        "why": facts.get("why", ""),
        "origin": facts.get("origin", "sampler"),
        "seconds": round(trial.duration.total_seconds(), 3) if trial.duration else 0.0,
        **settings,
        **{name: known.get(name) for name in _quantities(plan)},
        "runs": len(facts.get("runs", [])),
        "audited": bool(facts.get("bound", {}).get("audited", False)),
        "command": facts.get("command", ""),
        "digests": " ".join(run["digest"] for run in facts.get("runs", [])),
    }


def _quantities(plan: SweepPlan) -> list[str]:
    return list(dict.fromkeys((*plan.objectives, "params/trainable", "time/train_seconds")))


def _columns(plan: SweepPlan) -> list[str]:
    before = ["order", "number", "end", "why", "origin", "seconds"]
    return [*before, *plan.space.keys, *_quantities(plan), "runs", "audited", "command", "digests"]


def put(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old one or the new one."""
    scrap = path.with_name(f".{path.name}-{os.getpid()}")
    scrap.write_text(text)
    scrap.replace(path)
