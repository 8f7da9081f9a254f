"""The study: what is taken, what is counted, and what happens to trials of the dead."""

import json
import time
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from harness.spec import paths
from methods.kit.core.errors import UsageError
from sweeps.study import heartbeat, sweep_plan
from sweeps.study.heartbeat import FileLeases
from sweeps.study.optuna_storage import default_storage
from sweeps.study.optuna_study import Goal, Study, encoded
from sweeps.study.pruner import SameStep
from sweeps.study.sweep_plan import SweepOptions, SweepPlan


def planned(sampler: str = "random", name: str | None = None, *words: str) -> SweepPlan:
    fast = ["data=digits", "data.shots=1", *words]
    return sweep_plan.build(
        "clip_adapter", fast, "base_to_novel", [], [], SweepOptions(sampler), name
    )


def value(values: dict[str, Any]) -> float:
    """Stands in for an accuracy."""
    return float(
        80 - 40 * (values.get("method.ratio", 0.2) - 0.3) ** 2 - values["method.reduction"]
    )


def go_on(study: Study, goal: int, dies_at: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    """Run trials to the goal; after so many, as if killed, without a word."""
    ran = []
    while (taken := study.take(Goal(trials=goal))) is not None:
        if len(ran) in dies_at:
            leases = study._leases
            assert isinstance(leases, FileLeases)
            leases._held.pop(taken.number).release()  # what the kernel does
            return ran
        ran.append(taken.values)
        study.complete(taken, [value(taken.values)])
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
    for expected in found.defaults():
        taken = study.take(Goal(trials=5))
        assert taken is not None
        assert taken.values == expected
        study.complete(taken, [1.0])
    taken = study.take(Goal(trials=5))
    assert taken is not None
    assert taken.values not in found.defaults()


def test_a_trial_in_living_hands_is_left_alone_and_counts() -> None:
    one, two = Study(planned()), Study(planned())
    mine, other = one.take(Goal(trials=2)), two.take(Goal(trials=2))
    assert mine is not None
    assert other is not None
    assert mine.number != other.number
    assert one.take(Goal(trials=2)) is None
    assert two.reconcile() == 0
    one.complete(mine, [1.0])
    two.complete(other, [2.0])
    assert one.reached(Goal(trials=2))


def test_a_trial_that_kills_its_workers_is_given_up() -> None:
    found = planned()
    for _ in range(4):
        go_on(Study(found), 1, dies_at=(0,))
    study = Study(found)
    assert study.take(Goal(trials=1)) is None
    (only,) = study.ended()
    assert only.state == TrialState.FAIL


def test_a_trial_that_is_given_back_is_the_next() -> None:
    study = Study(planned())
    go_on(study, 3)
    taken = study.take(Goal(trials=9))
    assert taken is not None
    study.give_back(taken)
    again = study.take(Goal(trials=9))
    assert again is not None
    assert again.values == taken.values


def test_the_last_dead_trial_is_closed_at_the_end_too() -> None:
    study = Study(planned())
    go_on(study, 3, dies_at=(2,))
    assert any(t.state == TrialState.RUNNING for t in study.study.get_trials())
    assert Study(planned()).reconcile() == 1
    assert not any(t.state == TrialState.RUNNING for t in study.study.get_trials())


def test_who_finds_a_death_while_waiting_runs_the_trial_again() -> None:
    """The last trial of a dead worker, noticed after there was nothing to take: not the end."""
    study = Study(planned())
    taken = study.take(Goal(trials=1))
    assert taken is not None
    assert study.take(Goal(trials=1)) is None
    leases = study._leases
    assert isinstance(leases, FileLeases)
    leases._held.pop(taken.number).release()  # what the kernel does
    assert study.busy()
    again = study.take(Goal(trials=1))
    assert again is not None
    assert again.values == taken.values
    study.complete(again, [1.0])
    assert not study.busy()


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
    assert encoded(study.plan, study.plan.defaults()[0]) == loaded.trials[0].params


def test_minutes_are_those_that_trials_took() -> None:
    study = Study(planned())
    go_on(study, 3)
    assert study.take(Goal(seconds=1e-9)) is None
    assert study.reached(Goal(seconds=1e-9))
    assert study.take(Goal(seconds=3600)) is not None


def test_what_is_free_does_not_count_but_not_for_ever() -> None:
    study = Study(planned())
    capped = 0
    while (taken := study.take(Goal(trials=1))) is not None:
        study.note(taken, end="capped")
        study.prune(taken)
        capped += 1
    assert capped == 10
    assert not study.reached(Goal(trials=1))


def test_pruning_compares_what_was_measured_on_the_same_runs() -> None:
    study = optuna.create_study(direction="maximize", pruner=SameStep(start=2))
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
    monkeypatch.setattr("sweeps.study.heartbeat.BEAT", 1)
    with heartbeat.quietly():
        callback = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=heartbeat.TRIES)
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{tmp_path}/far.db", heartbeat_interval=1, grace_period=3,
            heartbeat_stale_trial_callback=callback,
        )  # fmt: skip
    far = optuna.create_study(storage=storage)
    here, there = heartbeat.Heartbeats(storage), heartbeat.Heartbeats(storage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alive, dead = far.ask(), far.ask()
    here.hold(alive)
    there.hold(dead)
    there.release(dead.number)  # its worker is gone, without a word
    until = time.monotonic() + 30
    while not (reaped := here.reap(far)) and time.monotonic() < until:
        time.sleep(0.2)
    assert reaped == 1
    states = [t.state for t in far.get_trials()]
    assert states == [TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING]
    here.release(alive.number)


def test_the_address_of_a_database_is_shown_without_its_password() -> None:
    far = "postgresql://me:secret@db.example:5432/sweeps"
    assert paths.without_password(far) == "postgresql://me@db.example:5432/sweeps"
    for plain in ("postgresql://me@db.example/sweeps", "sqlite:////home/me/sweeps.db"):
        assert paths.without_password(plain) == plain
    assert paths.with_driver(far).startswith("postgresql+psycopg://me:secret@")
