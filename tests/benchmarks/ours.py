"""Our side of a comparison: a method on a backbone, ready to take the same step again and again."""

from functools import cache

import open_clip
import torch
from torch import Tensor

from harness.model.backbone import Backbone, load_backbone
from harness.model.classifier import Classifier
from harness.spec.spec import BackboneSpec, TrainSpec
from harness.train.batches import Batch
from harness.train.gradients import train_step
from harness.train.trial_group import Trial, TrialGroup
from methods.kit import Method, Task
from methods.kit.contract.adapter import Adapter
from tests.benchmarks import device

B32, B16 = "ViT-B-32-quickgelu", "ViT-B-16-quickgelu"
TEMPLATE = "a photo of a {}."
WORDS = ("cat", "magnifying glass", "street sign", "red fox", "grand piano", "airliner", "tench")


def names(count: int) -> tuple[str, ...]:
    """Class names of one or two words and a number, all different."""
    return tuple(f"{WORDS[i % len(WORDS)]} {i // len(WORDS)}" for i in range(count))


def backbone(name: str, precision: str = "fp32") -> Backbone:
    """A model with random weights; the embedded one with its own."""
    return _backbone(name, precision, device.device())


@cache
def _backbone(name: str, precision: str, device: torch.device) -> Backbone:
    weights = "" if name == "embedded" else "random"
    return load_backbone(BackboneSpec(name, weights, precision), device)  # type: ignore[arg-type]


def attached(method: Method, model: Backbone, classes: int, move: float = 0.02) -> Adapter:
    """A method's adapter, moved from its start so that every path does something."""
    torch.manual_seed(0)
    prompts = model.prompts(TEMPLATE, names(classes))
    with torch.device(model.device):
        adapter = method.attach(model.clip, Task(names(classes), TEMPLATE, prompts.ids))
    for p in adapter.parameters() if move else ():
        torch.nn.init.normal_(p, std=move)
    return adapter


def pixels(model: Backbone, images: int, seed: int = 0) -> Tensor:
    """Random uint8 pixels (images, 3, h, w)."""
    rng = torch.Generator().manual_seed(seed)
    size = model.image.shape.image_size
    drawn = torch.randint(0, 256, (images, 3, *size), dtype=torch.uint8, generator=rng)
    return drawn.to(model.device)


class Trainer:
    """One method, ready to train on one batch again and again.

    The only place that knows how a training step of the harness is called.
    """

    def __init__(self, method: Method, model: Backbone, images: int, classes: int = 40) -> None:
        prompts = model.prompts(TEMPLATE, names(classes))
        rows = torch.arange(images, device=model.device)
        batch = Batch(pixels(model, images), rows % classes, rows)
        # A rate of almost 0 keeps arms where they are equal, at the cost of a real step.
        still = TrainSpec(lr=1e-30, weight_decay=0.0)
        self._begin(Classifier(model, attached(method, model, classes), prompts), batch, still)

    @classmethod
    def of(cls, net: Classifier, batch: Batch, cfg: TrainSpec) -> "Trainer":
        """Of a classifier as it is."""
        made = cls.__new__(cls)
        made._begin(net, batch, cfg)
        return made

    def _begin(self, net: Classifier, batch: Batch, cfg: TrainSpec) -> None:
        self.net, self.batch = net, batch
        self.group = TrialGroup([Trial(net.adapter, cfg)])

    @property
    def adapter(self) -> Adapter:
        return self.net.adapter

    def step(self, batch: Batch | None = None) -> float:
        return float(train_step(self.net, self.group, batch or self.batch)[0])

    def logits(self) -> Tensor:
        with torch.no_grad():
            return self.net(self.batch.x, self.adapter.bind()).logits

    def gradients(self) -> list[Tensor]:
        found = self.group.gradients()
        return [found[name] for name in self.adapter.trained() if name in found]

    def kept(self) -> Batch:
        """The batch as a plan keeps it."""
        tower, point = self.net.backbone.image, self.net.image_point
        x = self.net.backbone.transform.normalise(self.batch.x)
        with torch.no_grad():
            if not self.net.image_trains:
                x = tower(x)
            else:
                x = tower.begin(x, point).x.unflatten(0, (len(x), -1))
        return Batch(x, self.batch.labels, self.batch.rows)


def tokens(model: Backbone, classes: int) -> Tensor:
    """Prompts as open_clip pads them, (classes, context)."""
    tokenizer = open_clip.SimpleTokenizer(context_length=model.context)
    found: Tensor = tokenizer([TEMPLATE.format(name) for name in names(classes)])
    return found.to(model.device)


def same(mine: list[Tensor], theirs: list[Tensor], near: float = 2e-3) -> None:
    """Raises AssertionError unless two lists of gradients agree, each on its own scale."""
    assert len(mine) == len(theirs) > 0
    for one, two in zip(mine, theirs, strict=True):
        scale = float(two.abs().max()) + 1e-9
        torch.testing.assert_close(one / scale, two / scale, atol=near, rtol=0)
