"""MerA (He et al., 2023, arXiv 2308.15982): pretrained adapters merged into one, then tuned.

Confirmed by the abstract, which is all that could be had: several adapters that were pretrained on
other tasks, best of the same track, are merged by model fusion into a single one, which is then
tuned on the few shots of the task at hand. The ways to merge are our reading, after the optimal
transport fusion of Singh and Jaggi (2020): ``sum``, which multiplies the output; ``mean``;
``ot_weights`` and ``ot_activations``, the mean after the hidden units of each adapter have been
put in the places of those of the first that read most alike, or answer most alike.

An adapter is y + gelu(y A + a) B + c behind the MLP of every block, B zero at first. ``sources``
says what each is pretrained on: the name of a data set, or a number, for the task at hand from
other initial values (shots and order stay, so that no validation image is learnt); these are
trained before, once, and found again, also by other runs. Or the digest or MLflow id of a finished
run of the ledger, or eight letters or more of its beginning, which is not trained again. Every
source is a run of this method with ``sources=[]``. Sources that have seen images or classes that
are held out here are refused.

Activations are compared on the same ``probes`` rows for all sources: Gaussian tokens as ln_2 gives
them, through the frozen MLP (with gelu) that the adapter stands behind. Without the states of its
sources a merged adapter is drawn from N(0, 0.02).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

from methods.kit import (
    BOTH_TOWERS,
    Adapter,
    Block,
    Clip,
    Method,
    PositiveInt,
    Stage,
    Task,
    TowerName,
    UsageError,
)
from methods.kit.binding.randomness import generator
from methods.kit.parts import adapter_merging, dense_adapter
from methods.kit.parts.adapter_merging import Merge, Weights

RUN = re.compile(r"[0-9a-f]{8,}(-[0-9a-f]{16}){0,2}")  # what names a run, from its first 8 on


@dataclass(frozen=True)
class MerA(Method):
    paper = "He et al., 2023"
    fidelity = "reading"
    recipe = {"train.lr": 1e-3}
    shape = ("bottleneck", "layers", "towers")

    sources: tuple[str, ...] = ("1", "2")
    merge: Merge = "ot_weights"
    bottleneck: PositiveInt = 64
    probes: PositiveInt = 256  # ot_activations
    other: Annotated[int, Ge(0)] = 0  # which other initial values, of a source
    layers: str = "all"
    towers: tuple[TowerName, ...] = BOTH_TOWERS

    @property
    def identity(self) -> bool:
        return not self.sources

    @property
    def runs(self) -> tuple[str, ...]:
        return tuple(word for word in self.sources if RUN.fullmatch(word))

    def stages(self) -> Mapping[str, Stage]:
        plain = replace(self, sources=(), merge="ot_weights", probes=256)
        return {
            word: Stage(replace(plain, other=int(word)))
            if word.isdigit()
            else Stage(plain, {"data.name": word})
            for word in self.sources
            if word not in self.runs
        }

    def attach(self, clip: Clip, task: Task) -> Adapter:
        if len(self.sources) == 1:
            raise UsageError(
                f"method.sources: {self.sources[0]!r} alone leaves nothing to merge; name another"
            )
        adapter = Adapter(clip)
        past = [task.earlier[word] for word in self.sources if word in task.earlier]
        _draw_again(self.other)
        for block in clip.blocks(self.towers, self.layers):
            init: dense_adapter.Init = "normal" if self.sources else "kaiming"
            own = dense_adapter.own(adapter, block, self.bottleneck, init)
            if past:
                merged = self._merged(clip, block, past)
                for ref, value in zip(own.refs, merged, strict=True):
                    adapter.values()[ref.name].detach().copy_(value)
            dense_adapter.attach_dense(adapter, block, own, "gelu")
        return adapter

    def _merged(self, clip: Clip, block: Block, past: Sequence[Mapping[str, Tensor]]) -> Weights:
        names = ("down", "down_bias", "up", "up_bias")
        sources = [Weights(*(state[f"{block.key}.{name}"] for name in names)) for state in past]
        seen = _probe(clip, block, self.probes) if self.merge == "ot_activations" else None

        def hidden(w: Weights) -> Tensor:
            assert seen is not None
            return F.gelu(seen @ w.down + w.down_bias)

        return adapter_merging.merge(sources, self.merge, hidden)


def _draw_again(other: int) -> None:
    """Move torch's generator on, so that the same seed gives other initial values."""
    if other:
        torch.manual_seed(generator("other", other, torch.initial_seed()).initial_seed())


def _probe(clip: Clip, block: Block, rows: int) -> Tensor:
    """What enters the adapter of a block for random tokens (rows, width), on the CPU."""
    norm, fc, proj = (block.site(name) for name in ("ln_2", "fc", "proj"))
    parts = [clip.weight(norm), clip.bias(norm)]
    parts += [clip.weight(fc), clip.bias(fc), clip.weight(proj), clip.bias(proj)]
    gain, shift, w_1, b_1, w_2, b_2 = (part.detach().float().cpu() for part in parts)
    rng = generator("probe", block.key)
    normed = torch.randn(rows, block.width, generator=rng, device="cpu") * gain + shift
    return F.linear(F.gelu(F.linear(normed, w_1, b_1)), w_2, b_2)
