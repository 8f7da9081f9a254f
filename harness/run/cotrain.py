"""Runs whose trainings stand side by side over one frozen backbone; each is a Result of its own.

What each learns is what it learns alone (tests/harness/run/test_cotrain.py). Its times are its
share of what all took together; the tag ``together`` says how many they were.
"""

import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from harness.evaluate import cost
from harness.model.classifier import Classifier
from harness.model.out_of_memory import is_out_of_memory
from harness.run.execute import Progress, attempt, failed, first_counted, past, pick_device
from harness.run.prepare import Prepared, prepare
from harness.run.pruning import PruningRule
from harness.run.result import Result
from harness.spec.spec import Spec
from harness.train import cache_plan
from harness.train.fit import EpochRow, EpochRows, NonFiniteLoss, fit_all
from harness.train.trial_group import Trial, TrialGroup
from methods.kit.core.errors import UsageError

GROUP_SIZE_TAG = "together"


@dataclass(eq=False)
class _Member:
    """A run among others."""

    run: Prepared
    trial: Trial
    pruning: PruningRule | None
    seconds: list[float] = field(default_factory=list)  # its share of each step
    goes_on: bool = True
    lost: NonFiniteLoss | None = None


def attempt_all(
    specs: Sequence[Spec],
    device: str = "auto",
    progress: Progress | None = None,
    test: bool = True,
    store: Path | None = None,
    pruning_rules: Sequence[PruningRule | None] = (),
) -> Iterator[Result]:
    """As :func:`attempt` for each, side by side; results come as they are there, in any order.

    What cannot be prepared fails alone. When memory runs out, halves are tried; when anything else
    goes wrong each runs for itself. UsageError and KeyboardInterrupt are raised.
    """
    watched = list(pruning_rules) or [None] * len(specs)
    if len(specs) == 1:
        yield attempt(specs[0], device, progress, test, store, watched[0])
        return
    at = pick_device(device)
    members: list[_Member] = []
    for spec, pruning in zip(specs, watched, strict=True):
        started = time.time()
        try:
            run = prepare(spec, at, past(spec, device, progress, store), started)
            members.append(_Member(run, _trial(run), pruning))
        except UsageError:
            raise
        except Exception as error:  # a run's bug must not take the others with it
            yield failed(spec, at, started, error, test)
    if not members:
        return
    size = 0  # of smaller groups that are to be tried
    try:
        plan, meter = _train(members, progress)
    except UsageError:
        raise
    except Exception as error:  # whose it is shows when each runs for itself
        size = max(1, len(members) // 2) if is_out_of_memory(error) else 1
    if size:  # out of the handler, which holds on to what filled the memory
        again, watched = [m.run.spec for m in members], [m.pruning for m in members]
        members.clear()
        for start in range(0, len(again), size):
            part = slice(start, start + size)
            yield from attempt_all(again[part], device, progress, test, store, watched[part])
        return
    spent = sum(sum(m.seconds) for m in members)
    for m in members:
        if m.lost:
            yield failed(m.run.spec, at, m.run.started, m.lost, test)
            continue
        m.run.tags[GROUP_SIZE_TAG] = str(len(members))
        try:
            result = m.run.conclude(_share(m, meter, spent, len(members)), [plan], test, m.goes_on)
        except Exception as error:
            result = failed(m.run.spec, at, m.run.started, error, test)
        yield result if test else result.without_state()


def _share(member: _Member, meter: cost.Meter, spent: float, count: int) -> dict[str, float]:
    """What a run took of what all took: its part of each step, and of all between steps."""
    mine = cost.Meter(
        meter.train_seconds, member.seconds, meter.peak_bytes, meter.step_flops // count
    )
    mine.train_seconds = sum(member.seconds) + max(meter.train_seconds - spent, 0.0) / count
    return mine.metrics()


def _train(
    members: Sequence[_Member], progress: Progress | None
) -> tuple[cache_plan.CachePlan, cost.Meter]:
    """Train all to their ends."""
    group = TrialGroup([m.trial for m in members])
    first = members[0].run
    net = Classifier(first.backbone, first.net.adapter, first.net.prompts, wiring=group.wiring)
    streams = len({trial.stream_key for trial in group.trials})
    spec, by_trial = first.spec, {m.trial: m for m in members}
    with cost.measure_training(first.backbone.device) as meter:
        views = spec.data.views
        plan = cache_plan.make_plan(net, first.split.train, spec.train, spec.seed, views, streams)
        for rows in fit_all([net], [plan], group, first_counted(meter)):
            if progress:
                _show(rows, progress)
            for trial, row in rows.items():
                m = by_trial[trial]
                if isinstance(row, NonFiniteLoss):
                    m.lost = row
                    continue
                m.run.losses.extend(row.losses)
                m.run.tags |= row.tags
                m.seconds.extend(row.step_seconds)
                m.goes_on = m.run.looked(row, m.pruning, meter)
            stay = [t for t in group.trials if by_trial[t].goes_on]
            if len(stay) < len(group.trials):
                group.retain(stay)
    return plan, meter


def _show(rows: EpochRows, progress: Progress) -> None:
    """One line for all."""
    each = [row for row in rows.values() if isinstance(row, EpochRow)]
    if each:
        losses = [fmean(step) for step in zip(*(row.losses for row in each), strict=True)]
        accuracy = fmean(row.accuracy for row in each)
        one = each[0]
        row = EpochRow(one.epoch, one.epochs, one.first_step, losses, accuracy, one.step_seconds)
        progress(row)


def _trial(run: Prepared) -> Trial:
    """What hangs where depends on the method and its task alone, unless it begins elsewhere."""
    spec = run.spec
    starts = bool(spec.method.stages() or spec.method.start or spec.method.runs)
    stack_key: Hashable = None if starts else spec.method
    return Trial(run.net.adapter, spec.train, spec.seed, (run.split.train,), stack_key)
