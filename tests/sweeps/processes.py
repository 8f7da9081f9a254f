"""Sweeps run from tests: in this process, or as commands that can be killed."""

import json
import time
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from harness.cli import main
from sweeps.study.optuna_storage import default_storage


def sweep(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    """Run a sweep; what it says as JSON."""
    assert main.call(["sweep", *words, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def trials(found: dict[str, Any]) -> pd.DataFrame:
    return pd.read_csv(Path(found["folder"]) / "trials.csv")


def study_of(name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=default_storage())


def complete(name: str) -> set[str]:
    done = study_of(name).get_trials(states=(TrialState.COMPLETE,))
    return {json.dumps(t.params, sort_keys=True) for t in done}


def begun(name: str, number: int, deadline: float = 300) -> None:
    """Wait until a trial of that number is there."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        try:
            if len(study_of(name).trials) > number:
                return
        except Exception:  # not there yet
            pass
        time.sleep(0.1)
    pytest.fail("the sweep did not begin")
