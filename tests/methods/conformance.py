"""One method on one model build, with what several conformance tests use computed once."""

from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import NamedTuple

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.split import Images
from harness.model.backbone import Backbone
from harness.model.classifier import Classifier
from harness.spec.spec import TrainSpec
from harness.train.fit import fit
from methods.kit import Adapter, Method
from tests.conftest import NAMES, TEMPLATE, task_of
from tests.method_variants import method_of, start_of

TRAIN = TrainSpec(lr=1e-2, weight_decay=0.0, epochs=3, batch_size=4, augment="none")
WRONG = torch.tensor([1, 2, 3, 0])  # labels that only training can give


class Training(NamedTuple):
    """An adapter before and after a short training."""

    adapter: Adapter
    backbone_before: dict[str, Tensor]
    values_before: dict[str, Tensor]
    logits_before: Tensor


@dataclass
class Case:
    """A method with its defaults, or a variant of one, on a build."""

    name: str
    backbone: Backbone
    images: Images
    method: Method = field(init=False)

    def __post_init__(self) -> None:
        self.method = method_of(self.name)

    def attach(self, seed: int = 0) -> Adapter:
        torch.manual_seed(seed)
        start = start_of(self.method, self.backbone.clip)
        return self.method.attach(self.backbone.clip, replace(task_of(self.backbone), start=start))

    def classifier(self, adapter: Adapter) -> Classifier:
        return Classifier(self.backbone, adapter, self.backbone.prompts(TEMPLATE, NAMES))

    def logits(self, adapter: Adapter) -> Tensor:
        with torch.no_grad():
            return self.classifier(adapter)(self.images.pixels, adapter.bind()).logits

    @cached_property
    def training(self) -> Training:
        before = {k: v.clone() for k, v in self.backbone.model.state_dict().items()}
        adapter = self.attach()
        start = {k: v.clone() for k, v in adapter.values().items()}
        logits = self.logits(adapter)
        list(fit(self.classifier(adapter), self.images, TRAIN, seed=1))
        return Training(adapter, before, start, logits)

    @cached_property
    def moved(self) -> list[Adapter]:
        """Two adapters from other seeds, moved away from their initial values."""
        return [perturb(self.attach(seed=k), seed=k) for k in range(2)]

    @cached_property
    def moved_logits(self) -> Tensor:
        return self.logits(self.moved[0])


def perturb(adapter: Adapter, seed: int = 1) -> Adapter:
    """Move everything that trains away from its initial values, as training would."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in adapter.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=rng))
    return adapter


@cache
def tokens() -> Tensor:
    return open_clip.SimpleTokenizer(context_length=16)([TEMPLATE.format(n) for n in NAMES])


def open_clip_logits(model: torch.nn.Module, backbone: Backbone, images: Images) -> Tensor:
    """Logits of a plain open_clip model, by its own forward pass and tokenizer."""
    with torch.no_grad():
        image, text, scale = model(backbone.transform.normalise(images.pixels), tokens())[:3]
    return scale * image @ text.T


def learns(net: Classifier, images: Images, cfg: TrainSpec, goal: float) -> bool:
    """Whether training brings the loss below a goal and predicts every label."""
    for row in fit(net, images, cfg, seed=1):
        if row.loss < goal:
            with torch.no_grad():
                logits = net(images.pixels, net.adapter.bind()).logits
            if torch.equal(logits.argmax(-1), images.labels):
                return True
    return False


def least_loss(net: Classifier, labels: Tensor) -> float:
    """Return the least loss that any image features allow.

    0 where texts train too; else that of the frozen texts, which may be nearly the same, found on
    free unit vectors.
    """
    if net.text_trains:
        return 0.0
    text, scale = net.encode_frozen_text(), net.scale(net.adapter.bind()).detach()
    free = torch.nn.Parameter(text[labels].clone())
    optimizer = torch.optim.Adam([free], lr=0.03)
    for _ in range(600):
        loss = F.cross_entropy(scale * F.normalize(free, dim=-1) @ text.T, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()
