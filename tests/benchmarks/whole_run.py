"""loop.end2end: a whole run, from encoded images to accuracy, against the common loop."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.data import decoded_rows
from harness.model.tensor_cache import shared_cache
from harness.run.execute import execute
from harness.spec.spec import Spec
from tests.benchmarks import device
from tests.benchmarks.measure import Arm, Case
from tests.benchmarks.reference_loop import Ended, Loop, shares, spec_of
from tests.benchmarks.registry import row

ALIKE = Path(__file__).with_name("alike.json")  # both towers of 12 blocks of 128, 77 tokens


@dataclass(frozen=True)
class Setting:
    """What a run of either loop is made of, and how much faster ours should be."""

    data: str
    classes: int
    words: tuple[str, ...]
    goals: tuple[float, float]  # against the common loop, and against peft in it
    epochs: int
    model: str = ""  # the embedded one

    def spec(self) -> Spec:
        words: tuple[str, ...] = (*LORA, *self.words, f"train.epochs={self.epochs}")
        if self.model:
            words += (f"backbone.name={self.model}", "backbone.pretrained=random")
            words += ("method.dropout=0",)  # peft has none either
        return spec_of(self.data, self.classes, *words)

    @property
    def title(self) -> str:
        model = ", two towers of 12 x 128, no dropout" if self.model else ""
        return f"{self.data}, {self.classes} classes, {self.epochs} epochs{model}"


TEN, HUNDRED = ("shots=4",), ("shots=1",)
SETTINGS = (
    Setting("icon-concepts", 10, TEN, (3.0, 2.2), 6),
    Setting("emoji-things", 100, HUNDRED, (9.0, 8.0), 4),
    Setting("icon-concepts", 10, TEN, (3.0, 2.2), 6, str(ALIKE)),
    Setting("emoji-things", 100, HUNDRED, (9.0, 8.0), 2, str(ALIKE)),
)
WORKERS = "common loop, 2 workers that start each epoch"
LORA = ("method=lora", "method.rank=4", "data.val_shots=0", "train.lr=2e-3")


def forget() -> None:
    """As in a fresh process: nothing is decoded, nothing kept. The model stays, in all arms."""
    decoded_rows._kept.clear()
    shared_cache.clear()


@row("loop.end2end", "a whole run of LoRA: decode, train, test; the peer is the common loop")
def cases(quick: bool) -> Iterator[Case]:
    for setting in SETTINGS:
        spec = setting.spec()
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
        goals = dict(zip(list(arms)[1:], setting.goals, strict=True))
        if setting.classes == 10:
            arms[WORKERS] = _peer(WORKERS, spec, "split", seen, 2)
        yield Case(
            setting.title, arms, check, goals, rounds=5, warm=0, clock="wall", facts=facts,
            after=_noted(seen, facts),
        )  # fmt: skip


def _ours(spec: Any, seen: dict[str, list[Ended]]) -> Arm:
    seeds = iter(range(1, 1000))

    def arm() -> None:
        forget()
        result = execute(replace(spec, seed=next(seeds)), str(device.device()))
        phases = {"training": result.metrics["time/train_seconds"]}
        seen.setdefault("ours", []).append(Ended(result.metrics["acc/test"], phases))

    return arm


def _peer(name: str, spec: Any, lora: str, seen: dict[str, list[Ended]], workers: int = 0) -> Arm:
    seeds = iter(range(1, 1000))

    def arm() -> None:
        seen.setdefault(name, []).append(Loop(replace(spec, seed=next(seeds)), lora, workers).run())

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
