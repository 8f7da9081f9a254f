"""The study: what is taken, what is counted, and what happens to trials of the dead."""

import json
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from harness.spec import paths
from methods.kit.core.errors import UsageError
from sweeps.study import trial_claims
from sweeps.study.budget import Budget
from sweeps.study.optuna_storage import default_storage
from sweeps.study.optuna_study import Study
from sweeps.study.request import SweepRequest, build_plan
from sweeps.study.strategy import SameStepPruner
from sweeps.study.sweep_plan import SweepOptions, SweepPlan


def planned(sampler: str = "random", name: str | None = None, *words: str) -> SweepPlan:
    fast = ["data=digits", "data.shots=1", *words]
    request = SweepRequest(options=SweepOptions(sampler), name=name)
    return build_plan("clip_adapter", fast, request)


def value(values: dict[str, Any]) -> float:
    """Stands in for an accuracy."""
    return float(
        80 - 40 * (values.get("method.ratio", 0.2) - 0.3) ** 2 - values["method.reduction"]
    )


def go_on(study: Study, goal: int, dies_at: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    """Run trials to the goal; after so many, as if killed, without a word."""
    ran: list[dict[str, Any]] = []
    while (taken := study.take(Budget(trials=goal))) is not None:
        if len(ran) in dies_at:
            study._claims.release(taken.number)  # what the kernel does
            return ran
        ran.append(taken.values)
        study.end(taken, TrialState.COMPLETE, [value(taken.values)])
    return ran


def finished(study: Study) -> list[tuple[dict[str, float], dict[str, Any]]]:
    """In the order in which they ended."""
    done = [t for t in study.ended() if t.state == TrialState.COMPLETE]
    done.sort(key=lambda t: t.datetime_complete)
    return [_parts({**t.params, "value": t.values[0]}) for t in done]


def _parts(facts: dict[str, Any]) -> tuple[dict[str, float], dict[str, Any]]:
    """Numbers and words."""
    words = {k: v for k, v in facts.items() if isinstance(v, str)}
    return {k: v for k, v in facts.items() if k not in words}, words


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "gp"])
def test_a_resumed_study_equals_an_uninterrupted_one(sampler: str) -> None:
    whole = Study(planned(sampler, "whole"))
    go_on(whole, 14)
    torn = planned(sampler, "torn")
    for place in (0, 3, 5):  # three kills, each in another trial, each a new process
        go_on(Study(torn), 14, dies_at=(place,))
    resumed = Study(torn)
    go_on(resumed, 14)
    for one, other in zip(finished(resumed), finished(whole), strict=True):
        assert one[0] == pytest.approx(other[0], rel=1e-6)  # the last digits of a GP vary
        assert one[1] == other[1]
    assert len(finished(whole)) == 14
    states = {t.state for t in resumed.study.get_trials()}
    assert TrialState.RUNNING not in states
    assert len(resumed.study.get_trials()) == 17  # three were cut short and run again


def test_a_resumed_grid_is_the_same_grid() -> None:
    words = ("method.ratio=0.2", 'method.towers=["image"]')
    whole, torn = planned("grid", "whole", *words), planned("grid", "torn", *words)
    go_on(Study(whole), 12)
    go_on(Study(torn), 12, dies_at=(4,))
    go_on(Study(torn), 12)
    sets = []
    for p in (whole, torn):
        done = [t for t in Study(p).ended() if t.state == TrialState.COMPLETE]
        sets.append({json.dumps(t.params) for t in done})
    assert sets[0] == sets[1]
    assert len(sets[0]) == 12


def test_defaults_come_first() -> None:
    found = planned("tpe")
    study = Study(found)
    for expected in found.initial_trials():
        taken = study.take(Budget(trials=5))
        assert taken is not None
        assert taken.values == expected
        study.end(taken, TrialState.COMPLETE, [1.0])
    taken = study.take(Budget(trials=5))
    assert taken is not None
    assert taken.values not in found.initial_trials()


def test_a_trial_in_living_hands_is_left_alone_and_counts() -> None:
    one, two = Study(planned()), Study(planned())
    mine, other = one.take(Budget(trials=2)), two.take(Budget(trials=2))
    assert mine is not None
    assert other is not None
    assert mine.number != other.number
    assert one.take(Budget(trials=2)) is None
    assert two.requeue_dead() == 0
    one.end(mine, TrialState.COMPLETE, [1.0])
    two.end(other, TrialState.COMPLETE, [2.0])
    assert one.is_reached(Budget(trials=2))


def test_a_trial_that_kills_its_workers_is_given_up() -> None:
    found = planned()
    for _ in range(4):
        go_on(Study(found), 1, dies_at=(0,))
    study = Study(found)
    assert study.take(Budget(trials=1)) is None
    (only,) = study.ended()
    assert only.state == TrialState.FAIL


def test_a_trial_that_is_given_back_is_the_next() -> None:
    study = Study(planned())
    go_on(study, 3)
    taken = study.take(Budget(trials=9))
    assert taken is not None
    study.give_back()
    again = study.take(Budget(trials=9))
    assert again is not None
    assert again.values == taken.values


def test_the_last_dead_trial_is_closed_at_the_end_too() -> None:
    study = Study(planned())
    go_on(study, 3, dies_at=(2,))
    assert any(t.state == TrialState.RUNNING for t in study.study.get_trials())
    assert Study(planned()).requeue_dead() == 1
    assert not any(t.state == TrialState.RUNNING for t in study.study.get_trials())


def test_who_finds_a_death_while_waiting_runs_the_trial_again() -> None:
    """The last trial of a dead worker, noticed after there was nothing to take: not the end."""
    study = Study(planned())
    taken = study.take(Budget(trials=1))
    assert taken is not None
    assert study.take(Budget(trials=1)) is None
    study._claims.release(taken.number)  # what the kernel does
    assert study.waits_for_others()
    again = study.take(Budget(trials=1))
    assert again is not None
    assert again.values == taken.values
    study.end(again, TrialState.COMPLETE, [1.0])
    assert not study.waits_for_others()


def test_two_sweeps_never_share_a_study() -> None:
    go_on(Study(planned("random", "mine")), 2)
    for other in (planned("tpe", "mine"), planned("random", "mine", "train.epochs=3")):
        with pytest.raises(UsageError, match="--name mine: holds another sweep"):
            Study(other)
    assert planned("random").name != planned("tpe").name
    assert len(Study(planned("random", "mine")).ended()) == 2


def test_a_study_of_somebody_else_is_left_alone() -> None:
    theirs = optuna.create_study(storage=default_storage(), study_name="theirs")
    theirs.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(UsageError, match="holds another sweep"):
        Study(planned("random", "theirs"))


def test_the_study_is_plain_optuna() -> None:
    study = Study(planned())
    go_on(study, 3)
    loaded = optuna.load_study(study_name=study.plan.name, storage=study.url)
    assert len(loaded.trials) == 3
    assert loaded.metric_names == ["acc/val_hmean"]
    assert study.plan.encode(study.plan.initial_trials()[0]) == loaded.trials[0].params


def test_minutes_are_those_that_trials_took() -> None:
    study = Study(planned())
    go_on(study, 3)
    assert study.take(Budget(seconds=1e-9)) is None
    assert study.is_reached(Budget(seconds=1e-9))
    assert study.take(Budget(seconds=3600)) is not None


def test_what_is_free_does_not_count_but_not_for_ever() -> None:
    study = Study(planned())
    capped = 0
    while (taken := study.take(Budget(trials=1))) is not None:
        study.note(taken, end="capped")
        study.end(taken, TrialState.PRUNED)
        capped += 1
    assert capped == 10
    assert not study.is_reached(Budget(trials=1))


def test_pruning_compares_what_was_measured_on_the_same_runs() -> None:
    study = optuna.create_study(direction="maximize", pruner=SameStepPruner(start=2))
    distributions: dict[str, Any] = {}
    for last in (60.0, 62.0):  # an easy data set, then a hard one
        steps = {1: 90.0, 2: last}
        study.add_trial(
            optuna.create_trial(
                value=last, intermediate_values=steps, distributions=distributions, params={}
            )
        )
    trial = study.ask()
    trial.report(95.0, 1)
    assert not trial.should_prune()
    trial.report(50.0, 2)  # optuna's MedianPruner would still see 95
    assert trial.should_prune()
    assert not optuna.pruners.MedianPruner(n_startup_trials=2).prune(
        study, study.get_trials()[trial.number]
    )


def test_a_storage_that_cannot_be_opened_is_told_in_one_line(tmp_path: Path) -> None:
    for url in ("nonsense", f"sqlite:///{tmp_path}", "postgresql://me:secret@nowhere/db"):
        with pytest.raises(UsageError, match="cannot be opened") as raised:
            Study(planned(), url)
        assert "\n" not in str(raised.value)
        assert "secret" not in str(raised.value)


def test_a_heart_that_stops_is_noticed_across_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.study.trial_claims.BEAT", 1)
    with trial_claims.quiet():
        callback = partial(trial_claims.requeue, retries=trial_claims.RETRIES)
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{tmp_path}/far.db", heartbeat_interval=1, grace_period=3,
            heartbeat_stale_trial_callback=callback,
        )  # fmt: skip
    far = optuna.create_study(storage=storage)
    here, there = trial_claims.HeartbeatClaims(storage), trial_claims.HeartbeatClaims(storage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alive, dead = far.ask(), far.ask()
    here.claim(alive)
    there.claim(dead)
    there.release(dead.number)  # its worker is gone, without a word
    until = time.monotonic() + 30
    while not (requeued := here.requeue_dead(far)) and time.monotonic() < until:
        time.sleep(0.2)
    assert requeued == 1
    states = [t.state for t in far.get_trials()]
    assert states == [TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING]
    here.release(alive.number)


def test_the_address_of_a_database_is_shown_without_its_password() -> None:
    far = "postgresql://me:secret@db.example:5432/sweeps"
    assert paths.without_password(far) == "postgresql://me@db.example:5432/sweeps"
    for plain in ("postgresql://me@db.example/sweeps", "sqlite:////home/me/sweeps.db"):
        assert paths.without_password(plain) == plain
    assert paths.with_driver(far).startswith("postgresql+psycopg://me:secret@")
