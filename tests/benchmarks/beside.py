"""sweep.cotrain: a step of eight trials side by side, against a step of each one after another."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from harness.classifier import Classifier
from harness.crew import Crew, Trial
from harness.fit import train_step
from harness.spec import TrainSpec
from methods import Method
from methods.clip_adapter import CLIPAdapter
from methods.lora import LoRA
from tests.benchmarks.arms import Trainer, attached, backbone
from tests.benchmarks.measure import Case
from tests.benchmarks.rows import row

TRIALS = 8
STILL = TrainSpec(lr=1e-30, weight_decay=0.0)


@dataclass(frozen=True)
class Of:
    """What is trained, on how many images a step, and the goal."""

    name: str
    method: Method
    images: int
    goal: float


CASES = (
    Of("LoRA in every block, 32 images", LoRA(rank=4), 32, 1.0),
    Of("LoRA in every block, 8 images", LoRA(rank=4), 8, 1.0),
    Of(
        "LoRA in the upper 3 of 12 blocks", LoRA(rank=4, layers="top:3", towers=("image",)), 32, 2.0
    ),
    Of("LoRA in the last block", LoRA(rank=4, layers="top:1", towers=("image",)), 32, 4.0),
    Of("CLIP-Adapter on kept features", CLIPAdapter(), 32, 2.0),
)


@row("sweep.cotrain", "a step of 8 trials on pixels, side by side; the peer one after another")
def cases(quick: bool) -> Iterator[Case]:
    model = backbone("embedded")
    for of in CASES:
        first = Trainer(of.method, model, of.images, classes=10)
        heads = isinstance(of.method, CLIPAdapter)
        batch = first.kept() if heads else first.batch
        alone = [first, *(Trainer(of.method, model, of.images, classes=10) for _ in range(7))]
        adapters = [attached(of.method, model, 10) for _ in range(TRIALS)]
        for k, pair in enumerate(zip(adapters, alone, strict=True)):
            with torch.no_grad():
                for name, p in pair[0].trained().items():
                    p.add_(0.01 * k)
                    pair[1].adapter.trained()[name].copy_(p)
        crew = Crew([Trial(a, STILL, 1, None, of.method) for a in adapters])
        net = Classifier(model, adapters[0], first.net.prompts, rig=crew.rig)

        def beside() -> torch.Tensor:
            return train_step(net, crew, batch)[0]

        def apart() -> list[float]:
            return [one.step(batch) for one in alone]

        def check() -> None:
            torch.testing.assert_close(beside(), torch.tensor(apart()), atol=1e-4, rtol=1e-3)

        arms = {"side by side": beside, "one after another": apart}
        yield Case(of.name, arms, check, {"one after another": of.goal})
