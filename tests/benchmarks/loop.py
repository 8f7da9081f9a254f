"""loop.end2end: a whole run, from encoded images to accuracy, against the common loop."""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from harness import pixels
from harness.run import execute
from harness.store import kept
from tests.benchmarks.common import Ended, Loop, shares, spec_of
from tests.benchmarks.measure import Arm, Case
from tests.benchmarks.rows import row

SETS = (  # data set, classes, settings, goals against the common loop and peft in it
    ("icon-concepts", 10, ("shots=4", "train.epochs=6"), (3.0, 2.2)),
    ("emoji-things", 100, ("shots=1", "data.val_shots=0", "train.epochs=4"), (9.0, 8.0)),
)
LORA = ("method=lora", "method.rank=4", "data.val_shots=0", "train.lr=2e-3")


def forget() -> None:
    """As in a fresh process: nothing is decoded, nothing kept. The model stays, in all arms."""
    pixels._kept.clear()
    kept.clear()


@row("loop.end2end", "a whole run of LoRA: decode, train, test; the peer is the common loop")
def cases(quick: bool) -> Iterator[Case]:
    for name, classes, words, goals in SETS:
        words = tuple(dict.fromkeys((*LORA, *words)))
        spec = spec_of(name, classes, *words)
        facts: dict[str, Any] = {}
        seen: dict[str, list[Ended]] = {}

        def check(spec: Any = spec) -> None:
            bare = replace(spec, method=replace(spec.method, dropout=0.0))
            Loop(bare, "split").agrees()

        arms = {
            "ours": _ours(spec, seen),
            "common loop": _peer("common loop", spec, "split", seen),
            "common loop with peft": _peer("common loop with peft", spec, "peft", seen),
        }
        least = dict(zip(list(arms)[1:], goals, strict=True))
        title = f"{name}, {classes} classes, {spec.train.epochs} epochs"
        yield Case(
            title, arms, check, least, rounds=7, warm=0, facts=facts, after=_noted(seen, facts)
        )


def _ours(spec: Any, seen: dict[str, list[Ended]]) -> Arm:
    seeds = iter(range(1, 1000))

    def arm() -> None:
        forget()
        result = execute(replace(spec, seed=next(seeds)))
        phases = {"training": result.metrics["time/train_seconds"]}
        seen.setdefault("ours", []).append(Ended(result.metrics["acc/test"], phases))

    return arm


def _peer(name: str, spec: Any, lora: str, seen: dict[str, list[Ended]]) -> Arm:
    seeds = iter(range(1, 1000))

    def arm() -> None:
        seen.setdefault(name, []).append(Loop(replace(spec, seed=next(seeds)), lora).run())

    return arm


def _noted(seen: dict[str, list[Ended]], facts: dict[str, Any]) -> Arm:
    """Accuracies and phases; raises AssertionError where an arm ends elsewhere than ours."""

    def after() -> None:
        ours = [ended.accuracy for ended in seen["ours"]]
        for name, ended in seen.items():
            found = [e.accuracy for e in ended]
            facts[f"{name}: accuracy"] = round(statistics.mean(found), 2)
            facts[f"{name}: seconds"] = shares([e.phases for e in ended])
            noise = statistics.stdev(ours + found) / len(found) ** 0.5 if len(found) > 1 else 5.0
            far = abs(statistics.mean(found) - statistics.mean(ours))
            assert far < max(2.0, 4 * noise), (name, found, ours)

    return after
