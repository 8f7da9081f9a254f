"""MerA (He et al., 2023, arXiv 2308.15982): pretrained adapters, merged into one and tuned.

The abstract, which is all that was available, says: several adapters that were pretrained on other
tasks, best of the same kind, are merged by model fusion into one, which is then tuned on the few
shots of the target task. The ways to merge are our reading, after the optimal-transport fusion of
Singh and Jaggi (2020): ``sum``, which multiplies the output; ``mean``; ``ot_weights`` and
``ot_activations``, the mean after the hidden units of each adapter are matched to those of the
first with the most similar input weights, or activations.

An adapter is y + gelu(y A + a) B + c after the MLP of every block; B starts at zero. ``sources``
are the adapters to merge. Each is one of:

- the name of a data set to pretrain on;
- a number: the target task from other initial values. Shots and order stay the same, so no
  validation image is learned. Numbers and data sets are trained once as stages, and reused;
- the run id or MLflow id of a finished run in the ledger, or at least eight of its first letters.

Every source is a run of this method with ``sources=[]``. Sources that have seen held-out images or
classes of the target task are refused.

``ot_activations`` compares activations on the same ``probes`` rows for all sources: Gaussian tokens
as ln_2 emits them, through the frozen MLP (with gelu) before the adapter. Where the states of the
sources are not given, a merged adapter is drawn from N(0, 0.02).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.kit import Adapter, Block, Clip, Method, Stage, Task, UsageError
from methods.kit.binding.randomness import generator
from methods.kit.core.field_types import BOTH_TOWERS, NonNegativeInt, PositiveInt, TowerName
from methods.kit.parts.adapter_merging import Merge, Weights, merge
from methods.kit.parts.bottleneck import Init, attach_bottleneck, own_branch

RUN = re.compile(r"[0-9a-f]{8,}(-[0-9a-f]{16}){0,2}")  # a run id, or at least 8 letters of it


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
    other: NonNegativeInt = 0  # of a source: which other initial values
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
        states = [task.earlier[word] for word in self.sources if word in task.earlier]
        _reseed(self.other)
        init: Init = "normal" if self.sources else "kaiming"
        for block in clip.blocks(self.towers, self.layers):
            branch = own_branch(adapter, block, self.bottleneck, init)
            if states:
                for name, value in self._merged(clip, block, states)._asdict().items():
                    adapter.values()[f"{block.key}.{name}"].detach().copy_(value)
            attach_bottleneck(adapter, block, [branch], "gelu")
        return adapter

    def _merged(self, clip: Clip, block: Block, states: Sequence[Mapping[str, Tensor]]) -> Weights:
        sources = [
            Weights(*(state[f"{block.key}.{name}"] for name in Weights._fields)) for state in states
        ]
        tokens = _probe(clip, block, self.probes) if self.merge == "ot_activations" else None

        def hidden(w: Weights) -> Tensor:
            assert tokens is not None
            return F.gelu(tokens @ w.down + w.down_bias)

        return merge(sources, self.merge, hidden)


def _reseed(other: int) -> None:
    """Reseed torch from its seed and a number, for other initial values."""
    if other:
        torch.manual_seed(generator("other", other, torch.initial_seed()).initial_seed())


def _probe(clip: Clip, block: Block, rows: int) -> Tensor:
    """Return the input of a block's adapter for random tokens (rows, width), on the CPU."""
    frozen = [
        part(block.site(name)).detach().float().cpu()
        for name in ("ln_2", "fc", "proj")
        for part in (clip.weight, clip.bias)
    ]
    gain, shift, w_1, b_1, w_2, b_2 = frozen
    rng = generator("probe", block.key)
    normed = torch.randn(rows, block.width, generator=rng, device="cpu") * gain + shift
    return F.linear(F.gelu(F.linear(normed, w_1, b_1)), w_2, b_2)
