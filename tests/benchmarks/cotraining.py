"""sweep.cotrain: a step of eight trials side by side, against a step of each one after another."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from harness.model.backbone import Backbone
from harness.model.classifier import Classifier
from harness.spec.spec import TrainSpec
from harness.train.gradients import train_step
from harness.train.trial_group import Trial, TrialGroup
from methods.clip_adapter import CLIPAdapter
from methods.kit import Method
from methods.lora import LoRA
from tests.benchmarks.measure import Arm, Case
from tests.benchmarks.ours import Trainer, attached, backbone
from tests.benchmarks.registry import row

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
        beside, apart = _arms(of, model)

        def check(beside: Arm = beside, apart: Arm = apart) -> None:
            torch.testing.assert_close(beside(), apart(), atol=1e-4, rtol=1e-3)

        arms = {"side by side": beside, "one after another": apart}
        yield Case(of.name, arms, check, {"one after another": of.goal})


def _arms(of: Of, model: Backbone) -> tuple[Arm, Arm]:
    """Steps of the same trials: in one group, and each for itself."""
    alone = [Trainer(of.method, model, of.images, classes=10) for _ in range(TRIALS)]
    adapters = [attached(of.method, model, 10) for _ in range(TRIALS)]
    for k, (adapter, one) in enumerate(zip(adapters, alone, strict=True)):
        with torch.no_grad():
            for name, p in adapter.trained().items():
                p.add_(0.01 * k)
                one.adapter.trained()[name].copy_(p)
    batch = alone[0].kept() if isinstance(of.method, CLIPAdapter) else alone[0].batch
    group = TrialGroup([Trial(a, STILL, 1, (), of.method) for a in adapters])
    net = Classifier(model, adapters[0], alone[0].net.prompts, wiring=group.wiring)
    return (
        lambda: train_step(net, group, batch)[0],
        lambda: torch.tensor([one.step(batch) for one in alone], device=model.device),
    )
