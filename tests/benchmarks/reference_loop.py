"""The common loop of few-shot CLIP, written from its description, around a LoRA of a peer.

Images are decoded, cropped and mirrored by Pillow in every epoch; all class names are tokenised and
encoded in every step, at full length; AdamW goes tensor by tensor; loss and accuracy are read back
in every step; there is a pass of the frozen model over the test images, and a test at batch 100.
Its loader works in this process, which on two cores is faster, or in workers that start in each
epoch, as is usual.
"""

import io
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from harness.data import registry, split
from harness.data.split import Images
from harness.model import backbone
from harness.model.backbone import Backbone
from harness.run import config, prepare
from harness.spec.spec import Spec
from harness.train.batches import Batch
from tests.benchmarks import device, peers
from tests.benchmarks.ours import Trainer

TEST_BATCH = 100


@cache
def folder() -> Path:
    """Where cut data sets lie until the process ends."""
    made = tempfile.TemporaryDirectory()
    folder.keep = made  # type: ignore[attr-defined]
    return Path(made.name)


@cache
def cut(name: str, classes: int) -> Path:
    """The first classes of a data set as a Parquet file."""
    table = registry.read_dataset(name)
    rows = [i for i, label in enumerate(table.labels.tolist()) if label < classes]
    columns = {
        "image": [table.images[i] for i in rows],
        "label": [table.classnames[int(table.labels[i])] for i in rows],
        "split": [str(table.split[i]) for i in rows],
    }
    path = folder() / f"{name}-{classes}.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def spec_of(name: str, classes: int, *words: str) -> Spec:
    """A run on the first classes of a data set, on the embedded backbone."""
    template = registry.read_dataset(name).template
    path = cut(name, classes)
    return config.build("few_shot", [f"data={path}", f"data.template={template}", *words])


@dataclass
class Phases:
    """Seconds by what was done."""

    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        device.wait()
        self.spent[name] += time.perf_counter() - began

    def through(self, name: str, loader: Iterator[Any]) -> Iterator[Any]:
        """What comes out of a loader, its time noted."""
        while True:
            with self.of(name):
                found = next(loader, None)
            if found is None:
                return
            yield found


class Files(Dataset[tuple[Tensor, int]]):
    """Images that are decoded each time they are asked for."""

    def __init__(self, table: Any, images: Images, transform: Any) -> None:
        self.bytes = [table.images[i] for i in images.ids]
        self.labels = images.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        with Image.open(io.BytesIO(self.bytes[i])) as image:
            return self.transform(image.convert("RGB")), self.labels[i]


@dataclass(frozen=True)
class Ended:
    accuracy: float
    phases: dict[str, float]


class Loop:
    """A run of the common loop: images, names, steps, rates and initial numbers as ours."""

    def __init__(self, spec: Spec, lora: str, workers: int = 0) -> None:
        self.spec, self.lora, self.workers = spec, lora, workers
        self.device = device.device()
        self.backbone: Backbone = backbone.load_backbone(spec.backbone, self.device)
        self.split = split.load_split(spec, self.backbone.transform)
        self.tokenizer = open_clip.SimpleTokenizer(context_length=self.backbone.context)
        names = self.split.train.classnames
        self.texts = [self.split.template.replace("{}", name) for name in names]
        method: Any = spec.method
        # peft refuses dropout on attention
        self.model: Any = (
            peers.peft_lora(self.backbone.model, method.rank, method.scale)
            if lora == "peft"
            else peers.split_lora(self.backbone.model, method.rank, method.scale, method.dropout)
        )
        if lora != "peft":
            peers.give_split(prepare.attach(spec, self.backbone, self.split).adapter, self.model)
        self.params = peers.trained(self.model)

    def run(self) -> Ended:
        torch.manual_seed(self.spec.seed)
        phases, cfg = Phases(), self.spec.train
        transform = self.backbone.transform
        normal = transforms.Normalize(transform.mean, transform.std)
        crop = transforms.RandomResizedCrop(
            transform.size, (cfg.crop_scale, 1), interpolation=transforms.InterpolationMode.BICUBIC
        )
        shaken = [crop, transforms.RandomHorizontalFlip(), transforms.ToTensor(), normal]
        plain = [transform.crop, transforms.ToTensor(), normal]
        table = registry.read_dataset(self.spec.data.name)
        train = Files(table, self.split.train, transforms.Compose(shaken))
        tests = Files(table, self.split.held_out.parts[0], transforms.Compose(plain))
        with phases.of("zero-shot pass"):
            self.test(self.backbone.model, tests)
        optimizer = torch.optim.AdamW(self.params, lr=cfg.lr, weight_decay=cfg.weight_decay)
        total = cfg.epochs * math.ceil(len(train) / cfg.batch_size)
        rates = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate(step, total, cfg.warmup)
        )
        self.model.train()
        for _ in range(cfg.epochs):
            loader = DataLoader(train, cfg.batch_size, shuffle=True, num_workers=self.workers)
            for x, labels in phases.through("data", iter(loader)):
                self.step(x, labels, optimizer, phases)
                rates.step()
        self.model.eval()
        with phases.of("evaluation"):
            accuracy = self.test(self.model, tests)
        return Ended(accuracy, dict(phases.spent))

    def tokens(self) -> Tensor:
        found: Tensor = self.tokenizer(self.texts)
        return found.to(self.device)

    def step(
        self, x: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer, phases: Phases
    ) -> float:
        x, labels = x.to(self.device), labels.to(self.device)
        with phases.of("text"):
            text = self.model.encode_text(self.tokens(), normalize=True)
        with phases.of("vision"):
            image = self.model.encode_image(x, normalize=True)
        logits = self.model.logit_scale.exp() * image @ text.T
        loss = F.cross_entropy(logits, labels)
        with phases.of("backward"):
            optimizer.zero_grad()
            loss.backward()
        with phases.of("optimiser"):
            optimizer.step()
        (logits.argmax(-1) == labels).float().mean().item()
        return loss.item()

    @torch.no_grad()
    def test(self, model: Any, images: Files) -> float:
        """Accuracy in per cent."""
        text = model.encode_text(self.tokens(), normalize=True)
        right = 0
        for x, labels in DataLoader(images, TEST_BATCH, num_workers=self.workers):
            found = (model.encode_image(x.to(self.device), normalize=True) @ text.T).argmax(-1)
            right += int((found == labels.to(self.device)).sum())
        return 100 * right / len(images)

    def agrees(self, steps: int = 3) -> None:
        """Raises AssertionError unless our own loop gives the same losses on the same batches."""
        assert self.lora != "peft"
        assert self.spec.method.dropout == 0  # type: ignore[attr-defined]
        train, cfg = self.split.train, self.spec.train
        rows = torch.arange(min(cfg.batch_size, len(train)))
        pixels: Any = train.pixels
        net = prepare.attach(self.spec, self.backbone, self.split)
        parts = (t.to(self.device) for t in (pixels[rows], train.labels[rows], rows))
        ours = Trainer.of(net, Batch(*parts), cfg)
        x = self.backbone.transform.normalise(pixels[rows])
        optimizer = torch.optim.AdamW(self.params, lr=cfg.lr, weight_decay=cfg.weight_decay)
        losses = [
            (ours.step(), self.step(x, train.labels[rows], optimizer, Phases()))
            for _ in range(steps)
        ]
        torch.testing.assert_close(*(torch.tensor(each) for each in zip(*losses, strict=True)),
                                   atol=1e-3, rtol=1e-3)  # fmt: skip
        assert losses[0][0] != losses[-1][0]


def rate(step: int, total: int, warmup: float) -> float:
    """The factor on the learning rate that our own loop uses: linear, then half a cosine."""
    warm = round(warmup * total)
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def shares(phases: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean seconds of each phase."""
    return {name: round(sum(p[name] for p in phases) / len(phases), 3) for name in phases[0]}
