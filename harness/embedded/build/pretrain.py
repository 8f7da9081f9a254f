"""Pretrains the embedded CLIP on the corpus, on a CPU or a GPU, in slices that resume exactly.

Loss: symmetric InfoNCE, where pairs of one caption are no negatives, plus an auxiliary head,
dropped afterwards, by which either feature predicts the words of the caption. Without the head, or
with augmentation at full strength from the start, the features stay alike and the loss stays at
log(batch) for very long. Everything random depends on (seed, step) alone, so a run that is stopped
and started again, with as many threads, gives the same weights.
"""

import csv
import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.embedded.build.augment import augment
from harness.embedded.build.evaluate import zero_shot
from harness.embedded.build.losses import WordHead, pair_loss
from harness.embedded.build.pairs import Batch, Corpus, Sampler
from harness.embedded.build.recipe import Recipe
from harness.model import clip_layout, open_clip_configs
from harness.model import tokenizer as tokenizer_module
from harness.model.prompt_packing import Prompts
from harness.model.tower import FROZEN, Tower
from methods.kit.binding.randomness import generator
from methods.kit.core.errors import UsageError

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
LARGEST_SCALE = 100.0
WEIGHTS, STATE, LOG = "model.safetensors", "checkpoint.safetensors", "log.csv"
CONFIG = "tiny_clip.json"


class Trainer:
    """Model, auxiliary head and optimiser at a step of a recipe.

    ``start`` are weights (safetensors) to go on from, with a new optimiser and a new head.
    """

    def __init__(
        self, corpus: Corpus, config: Path, recipe: Recipe, device: str, start: Path | None = None
    ) -> None:
        self.recipe, self.device, self.step = recipe, torch.device(device), 0
        self.about = vars(recipe) | {"start": _sha256(start) if start else ""}
        self.name = str(config)
        built = open_clip_configs.model_config(self.name)
        torch.manual_seed(recipe.seed)
        self.model = open_clip_configs.build_model(self.name, built)
        shapes = clip_layout.read_layout(self.model, self.name)
        self.image, self.text, self.mappings = shapes.image, shapes.text, shapes.mappings
        tokenizer = tokenizer_module.load_tokenizer(self.name, built)
        self.sampler = Sampler(corpus, tokenizer, self.text.length, recipe.seed)
        self.head = WordHead(built["embed_dim"], self.sampler.vocabulary)
        self.model.to(self.device)
        self.head.to(self.device)
        self.mono, self.inside = corpus.mono.to(self.device), corpus.inside.to(self.device)
        self.colour = corpus.colour.to(self.device)
        with torch.no_grad():
            if start:
                self._start(start)
            else:  # words must stand out from the end token at the start
                self._parameters()["text.words.weight"].mul_(4)
        self.optimizer = self._optimizer()

    # --- one step ----------------------------------------------------------------------------

    def train_step(self) -> dict[str, Tensor]:
        """One update; returns its losses, on the device."""
        recipe = self.recipe
        seen, size = recipe.at(self.step)
        progress = seen / recipe.samples
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(progress)
        batch = self.sampler.batch(self.step, size)
        strength = min(1.0, progress / recipe.ramp) if recipe.ramp else 1.0
        pixels = self._pixels(batch, strength)
        image, text = self.features(pixels, batch.tokens)
        words, caption = batch.words.to(self.device), batch.caption.to(self.device)
        with self._autocast():
            aux = self.head(image, words) + 0.5 * self.head(text, words)
        scale = self._parameters()["shared.scale.weight"]
        pair = pair_loss(scale.exp(), image, text, caption)
        self.optimizer.zero_grad(set_to_none=True)
        (pair + recipe.words * aux).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_grad)
        self.optimizer.step()
        with torch.no_grad():
            scale.clamp_(0, math.log(LARGEST_SCALE))
        self.step += 1
        return {"loss": pair.detach(), "words": aux.detach()}

    def features(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised image (n, dim) and text (n, dim) features, by the towers of RingBench."""
        weights = self._parameters()
        words = Tower(self.text, weights)
        with self._autocast():
            image = _encode(Tower(self.image, weights), pixels, self.device)
            text = _encode(words, words.prompts(tokens).to(self.device), self.device)
        return F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)

    def _parameters(self) -> dict[str, Tensor]:
        """The trainable tensors under our names, as the towers read them."""
        own = dict(self.model.named_parameters())
        return {piece.name: piece.read(own[piece.key]) for piece in self.mappings}

    def _pixels(self, batch: Batch, strength: float) -> Tensor:
        rng = generator(self.recipe.seed, "augment", self.step, device=self.device)
        x = augment(
            self.mono[batch.mono.to(self.device)],
            self.inside[batch.mono.to(self.device)],
            self.colour[batch.colour.to(self.device)],
            batch.mirrors.to(self.device),
            self.image.image_size[0],
            strength,
            rng,
        )
        mean, std = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in (MEAN, STD))
        return (x - mean) / std

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _optimizer(self) -> torch.optim.AdamW:
        decays: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, value in self.model.named_parameters():
            matrix = value.dim() >= 2 and "embedding" not in name
            (decays if matrix else rest).append(value)
        groups = [
            {"params": decays, "weight_decay": self.recipe.weight_decay},
            {"params": [*rest, *self.head.parameters()], "weight_decay": 0.0},
        ]
        lr = self.recipe.lr
        return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=1e-6, fused=True)

    # --- files -------------------------------------------------------------------------------

    def save(self, out: Path) -> None:
        """The whole state, to go on from; written beside and renamed, so a kill harms nothing."""
        tensors = {f"model/{n}": p for n, p in self.model.named_parameters()}
        tensors |= {f"head/{n}": p for n, p in self.head.named_parameters()}
        for i, value in enumerate(self._optimized()):
            for key, moment in self.optimizer.state[value].items():
                tensors[f"optimizer/{i}/{key}"] = moment
        flat = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        scrap = out / f".{STATE}"
        save_file(flat, scrap, {"step": str(self.step), "recipe": json.dumps(self.about)})
        scrap.replace(out / STATE)

    def resume(self, out: Path) -> bool:
        """Go on from a saved state, if there is one. Raises UsageError for another recipe's."""
        path = out / STATE
        if not path.is_file():
            return False
        with safe_open(path, "pt") as opened:
            about = opened.metadata()
        if json.loads(about["recipe"]) != self.about:
            raise UsageError(f"{path}: made by another recipe; use another folder or remove it")
        tensors = load_file(path)
        self._load(tensors)
        self.step = int(about["step"])
        return True

    def _start(self, path: Path) -> None:
        """Read the weights to go on from. Raises UsageError when they are another model's."""
        try:
            found, own = load_file(path), dict(self.model.named_parameters())
        except SafetensorError as error:
            raise UsageError(f"{path}: no safetensors file: {error}") from None
        odd = [n for n in own if n not in found or found[n].shape != own[n].shape]
        if odd:
            raise UsageError(f"{path}: no weights of {self.name}: {odd[0]} is missing or differs")
        for name, value in own.items():
            value.copy_(found[name])

    @torch.no_grad()
    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        for part, module in (("model", self.model), ("head", self.head)):
            for name, value in module.named_parameters():
                value.copy_(tensors[f"{part}/{name}"])
        for i, value in enumerate(self._optimized()):
            found = {
                name.rpartition("/")[2]: t
                for name, t in tensors.items()
                if name.startswith(f"optimizer/{i}/")
            }
            if found:
                self.optimizer.state[value] = {
                    k: t if k == "step" else t.to(self.device) for k, t in found.items()
                }
                if self.device.type == "cuda":
                    self.optimizer.state[value]["step"] = found["step"].to(self.device)

    def _optimized(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def export(self, out: Path) -> None:
        """open_clip's weights in fp16, as they are shipped."""
        state = {n: p.detach().half().cpu().contiguous() for n, p in self.model.named_parameters()}
        save_file(state, out / WEIGHTS)


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or 'cannot be read'}") from None


def _encode(tower: Tower, inputs: Tensor | Prompts, device: torch.device) -> Tensor:
    """A tower's features with its residual stream in bf16, which is faster."""
    stream = tower.embed(inputs)
    stream = replace(stream, x=stream.x.bfloat16())
    last = tower.shape.depth - 1
    stream = tower.run(stream, FROZEN, 0, last)
    x = tower.block(last, stream, FROZEN, tower.pooled_rows(stream))
    return tower.head(x, stream)


def run(
    trainer: Trainer, out: Path, tasks: bool, slice_minutes: float, every: int, log_every: int
) -> bool:
    """Train until the recipe is done or the slice is over; True when it is done."""
    out.mkdir(parents=True, exist_ok=True)
    resumed = trainer.resume(out)
    (out / CONFIG).write_text(
        json.dumps(open_clip_configs.model_config(trainer.name), indent=2) + "\n"
    )
    (out / "recipe.json").write_text(json.dumps(trainer.about, indent=2) + "\n")
    total, began, marked = sum(trainer.recipe.steps()), time.monotonic(), time.monotonic()
    seen_before = trainer.recipe.at(trainer.step)[0]
    with (out / LOG).open("a" if resumed else "w", newline="") as file:
        log = csv.writer(file)
        if not resumed:
            log.writerow(["step", "seen", "loss", "words", "lr", "pairs_per_second", "zero_shot"])
        while trainer.step < total:
            losses = trainer.train_step()
            over = slice_minutes > 0 and time.monotonic() - began > 60 * slice_minutes
            ended = trainer.step == total or over
            scores = ""
            if ended or trainer.step % every == 0:
                trainer.save(out)
                trainer.export(out)
                if tasks:
                    scores = json.dumps(zero_shot(out))
            if scores or trainer.step % log_every == 0:
                seen = trainer.recipe.at(trainer.step)[0]
                speed = (seen - seen_before) / (time.monotonic() - marked)
                row = [f"{losses['loss']:.4f}", f"{losses['words']:.4f}"]
                rate = f"{trainer.recipe.rate(seen / trainer.recipe.samples):.3e}"
                log.writerow([trainer.step, seen, *row, rate, f"{speed:.0f}", scores])
                file.flush()
                seen_before, marked = seen, time.monotonic()
            if over:
                break
    return trainer.step >= total
