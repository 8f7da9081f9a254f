"""sweep.*: many runs at once, against as many runs of the common loop."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from harness import console
from harness.ledger import open_ledger
from harness.one import Done
from harness.spec import Spec
from sweeps import workers
from tests.benchmarks.common import Loop, spec_of
from tests.benchmarks.loop import LORA, SETS, forget
from tests.benchmarks.measure import Arm, Case
from tests.benchmarks.rows import row

RANKS = range(1, 17)
A_ROUND = 4  # of the peer's 16 runs in each round, its time then times 4
EPOCHS = ("train.epochs=4", "train.epochs=2")


@row("sweep.rank16", "16 ranks of LoRA, trained, tested and recorded; the peer is peft, run by run")
def rank16(quick: bool) -> Iterator[Case]:
    for (name, classes, words, _), epochs, goal in zip(SETS, EPOCHS, (3.5, 10.0), strict=True):
        kept = [w for w in (*LORA, *words) if not w.startswith("train.epochs")]
        base = spec_of(name, classes, *dict.fromkeys((*kept, epochs)))
        specs = [replace(base, method=replace(base.method, rank=r)) for r in RANKS]  # type: ignore[type-var]
        facts: dict[str, Any] = {"peer": f"{A_ROUND} of 16 runs a round, times {16 // A_ROUND}"}
        peer = _peft(specs)
        arms = {"ours": _suite(specs), "peft in the common loop": peer}

        def check(base: Spec = base) -> None:
            open_ledger().finished()  # makes it
            Loop(replace(base, method=replace(base.method, dropout=0.0)), "split").agrees()  # type: ignore[type-var]

        title = f"{name}, {classes} classes, {base.train.epochs} epochs"
        goals = {"peft in the common loop": goal}
        weights = {"peft in the common loop": len(specs) / A_ROUND}
        yield Case(title, arms, check, goals, rounds=2, warm=0, facts=facts, weights=weights)


def _suite(specs: list[Spec]) -> Arm:
    """The runner of suites in one process, with a ledger that is there."""

    def arm() -> None:
        forget()
        bars = console.Bars(len(specs), quiet=True)
        done: list[Done] = list(workers.run_all(specs, "cpu", None, None, 1, bars))
        assert all(d.ok for d in done), [d.error for d in done if not d.ok]

    return arm


def _peft(specs: list[Spec]) -> Arm:
    """Some of the runs, in turn."""
    turn = itertools.cycle(specs)

    def arm() -> None:
        for spec in itertools.islice(turn, A_ROUND):
            Loop(spec, "peft").run()

    return arm
