"""sweep.*: many runs at once, against as many runs of the common loop."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from harness.cli import console
from harness.spec.spec import Spec
from harness.tracking.driver import RunOutcome
from harness.tracking.ledger import open_ledger
from sweeps.suite import workers
from sweeps.suite.options import DriveOptions
from tests.benchmarks import device
from tests.benchmarks.measure import Arm, Case
from tests.benchmarks.reference_loop import Loop
from tests.benchmarks.registry import row
from tests.benchmarks.whole_run import SETTINGS, forget

RANKS = range(1, 17)
A_ROUND = 4  # of the peer's 16 runs in each round, its time then times 4
PLANS = ((4, 3.5), (2, 10.0), (4, 3.5), (1, 10.0))  # epochs and goal of each setting


@row("sweep.rank16", "16 ranks of LoRA, trained, tested and recorded; the peer is peft, run by run")
def rank16(quick: bool) -> Iterator[Case]:
    for setting, (epochs, goal) in zip(SETTINGS, PLANS, strict=True):
        setting = replace(setting, epochs=epochs)
        base = setting.spec()
        specs = [replace(base, method=replace(base.method, rank=r)) for r in RANKS]  # type: ignore[type-var]
        facts: dict[str, Any] = {"peer": f"{A_ROUND} of 16 runs a round, times {16 // A_ROUND}"}
        peer = _peft(specs)
        arms = {"ours": _suite(specs), "peft in the common loop": peer}

        def check(base: Spec = base) -> None:
            open_ledger().finished()  # makes it
            Loop(replace(base, method=replace(base.method, dropout=0.0)), "split").agrees()  # type: ignore[type-var]

        goals = {"peft in the common loop": goal}
        weights = {"peft in the common loop": len(specs) / A_ROUND}
        yield Case(
            setting.title, arms, check, goals, rounds=2, warm=0, facts=facts, weights=weights
        )


def _suite(specs: list[Spec]) -> Arm:
    """The runner of suites in one process, with a ledger that is there."""

    def arm() -> None:
        forget()
        bars = console.ProgressBars(len(specs), quiet=True)
        done: list[RunOutcome] = list(
            workers.run_specs(specs, DriveOptions(str(device.device())), None, bars)
        )
        assert all(d.ok for d in done), [d.error for d in done if not d.ok]

    return arm


def _peft(specs: list[Spec]) -> Arm:
    """Some of the runs, in turn."""
    turn = itertools.cycle(specs)

    def arm() -> None:
        for spec in itertools.islice(turn, A_ROUND):
            Loop(spec, "peft").run()

    return arm
