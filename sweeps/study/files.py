"""Writes a sweep as plain files, for reports and for anybody: sweep.json and trials.csv.

harness/tracking/sweep_record.py reads them.
"""

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from harness.spec.paths import without_password
from harness.tracking.sweep_record import FACTS, SWEEP, TRIALS, sweep_folder
from sweeps.study.optuna_study import Study
from sweeps.study.sweep_plan import SweepPlan
from sweeps.study.trial_claims import SAMPLED


def write_sweep(study: Study) -> Path:
    """Write both files, each whole or not at all; return their folder."""
    folder = sweep_folder(study.plan.name, create=True)
    table = pd.DataFrame(
        [_row(study.plan, t, order) for order, t in enumerate(study.ended())],
        columns=_columns(study.plan),
    )
    replace_text(folder / TRIALS, table.to_csv(index=False, lineterminator="\n"))
    write_facts(
        study.plan.name,
        study.plan.as_dict()
        | {
            "kind": SWEEP,
            "digest": study.plan.digest(),
            "storage": without_password(study.url),
            "importances": study.importances(),
            "grid": study.plan.space.grids(),
        },
    )
    return folder


def write_facts(name: str, facts: dict[str, Any]) -> None:
    """Write the sweep.json of a sweep or comparison."""
    folder = sweep_folder(name, create=True)
    replace_text(folder / FACTS, json.dumps(facts, indent=2) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old one or the new one."""
    scrap = path.with_name(f".{path.name}-{os.getpid()}")
    scrap.write_text(text)
    scrap.replace(path)


def _row(plan: SweepPlan, trial: FrozenTrial, order: int) -> dict[str, Any]:
    """Return a trial that ended: its settings, how it ended, what it reached and cost."""
    facts = trial.user_attrs
    complete = trial.state == TrialState.COMPLETE
    settings: dict[str, Any] = dict.fromkeys(plan.space.keys, "")
    if SAMPLED in facts:  # else it was interrupted while its settings were drawn
        values = plan.decode(trial.params)
        settings |= {k: json.dumps(v) if isinstance(v, list) else v for k, v in values.items()}
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
