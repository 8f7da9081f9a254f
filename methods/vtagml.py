"""VTAGML (Bhattacharjee et al., 2023, arXiv 2308.12372): adapters conditioned on the task.

Written for a Swin and dense tasks. Parts are those of the repository (IVRL/VTAGML); what it does
not hold, and how parts act in CLIP's image tower, is our reading. Tasks are the data sets that are
trained together (multi_task). Task t has an embedding, a row of a table, and each block its own
z = Linear(z_t). With FiLM(z, x) = (1 + g(z)) * x + s(z), where g and s are linear in z:

- adapter: the output y of the block becomes y + Up(Down(FiLM(z, y))), from the width to a third of
  it and back, without an activation. The repository passes a stream h from adapter to adapter,
  next to the block's own x, and decodes h; here h is added to the residual stream, x + h.
- ``norms`` (TSN): the gains of ln_1 and ln_2 are multiplied by 1 + g(z), with the block's own g.
- ``attention`` (TAA): a matrix (patches, side), FiLM-modulated by z, is cut into ``side`` blocks.
  They form a block-diagonal (patches, patches) matrix that is added to the scores of every head,
  so patches of one row of the image attend to each other by task. The repository's windows are
  7 x 7; here the whole grid is one. The scores of the class token do not change, nor does the last
  block, which computes that token alone.
- ``affinity`` (TROA): z_t is replaced by sum_s A_ts z_s, with A the softmax of each row of the mean
  cosines between the tasks' gradients so far. The repository has no TROA, so this is a guess.

``init="normal"``: Down and Up from N(0, 0.02), so the adapted model does not start as the frozen
one; ``"frozen"``: Up is zero. g, s and the matrix start at zero. Departure: the repository also
trains patch embedding, norms and decoders, and the betas of its AdamW are 0.9 and 0.98.

On a single data set there is one embedding and no affinity: a linear bottleneck, a gain for each
norm and an attention bias, all learned through one vector. Images of data sets that are only
tested use the first task.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.kit import Adapter, Block, Clip, Method, Ref, Task, UsageError
from methods.kit.core.field_types import PositiveInt
from methods.kit.parts.bottleneck import own_branch
from methods.kit.parts.initial_values import linear_init
from methods.kit.parts.routing import of_task

WEIGHTS = "task_weights"  # the table of A


@dataclass(frozen=True)
class VTAGML(Method):
    paper = "Bhattacharjee et al., 2023"
    fidelity = "reading"
    recipe = {"train.lr": 4e-5}

    embedding: PositiveInt = 64
    reduction: PositiveInt = 3
    norms: bool = True
    attention: bool = True
    affinity: bool = True
    init: Literal["normal", "frozen"] = "normal"
    layers: str = "all"

    @property
    def identity(self) -> bool:
        return self.init == "frozen"

    def attach(self, clip: Clip, task: Task) -> Adapter:
        adapter, tower = Adapter(clip), clip.image
        embedded = self._embedding(adapter, task)
        for block in tower.blocks(self.layers):
            z = self._linear(adapter, f"{block.key}.embed", embedded, self.embedding, zero=False)
            gain = self._linear(adapter, f"{block.key}.gain", z, block.width)
            shift = self._linear(adapter, f"{block.key}.shift", z, block.width)
            small = max(1, block.width // self.reduction)
            branch = own_branch(
                adapter, block, small, "kaiming" if self.init == "frozen" else "normal"
            )
            adapter.after(block.site("block"), _adapt, gain, shift, *branch.refs)
            for name in ("ln_1", "ln_2") if self.norms else ():
                adapter.reweight(block.site(name), _modulate_gain, gain)
            if self.attention and block.index < tower.depth - 1:
                self._scores(adapter, block, z, tower.length - 1)
        return adapter

    def _embedding(self, adapter: Adapter, task: Task) -> Ref:
        """Return the embedding of the task of a batch."""
        count = len(task.names)
        table = adapter.own("shared.tasks", nn.Parameter(torch.randn(count, self.embedding)))
        which = adapter.tracked("task", torch.zeros((), dtype=torch.long))
        if not self.affinity:
            return adapter.derive("shared.z", of_task, which, table)
        affinity = adapter.tracked("affinity", torch.eye(count))
        for i, name in enumerate(task.tasks):
            fn = partial(_weights, row=i)
            adapter.report(WEIGHTS, fn, affinity, row=name, columns=task.tasks)
        return adapter.derive("shared.z", _mixed, which, table, affinity)

    def _linear(self, adapter: Adapter, name: str, z: Ref, out: int, zero: bool = True) -> Ref:
        """Derive a vector (out,) linear in z, zero at first or drawn as a default nn.Linear."""
        fan_in = math.inf if zero else self.embedding
        weight = nn.Parameter(linear_init(out, self.embedding, fan_in=fan_in))
        bias = nn.Parameter(linear_init(out, fan_in=fan_in))
        owned = adapter.own(f"{name}.weight", weight), adapter.own(f"{name}.bias", bias)
        return adapter.derive(name, _affine, z, *owned)

    def _scores(self, adapter: Adapter, block: Block, z: Ref, patches: int) -> None:
        side = math.isqrt(patches)
        if side**2 != patches:
            raise UsageError(
                f"method.attention: {patches} patches are no square grid; method.attention=false"
            )
        matrix = adapter.own(f"{block.key}.taa", nn.Parameter(torch.zeros(patches, side)))
        gain = self._linear(adapter, f"{block.key}.taa_gain", z, side)
        shift = self._linear(adapter, f"{block.key}.taa_shift", z, side)
        adapter.before(block.site("scores"), _add_row_scores, gain, shift, matrix)


def _mixed(which: Tensor, table: Tensor, affinity: Tensor) -> Tensor:
    return of_task(which, affinity.softmax(-1) @ table)


def _weights(affinity: Tensor, row: int) -> Tensor:
    return affinity[row].softmax(-1)


def _affine(z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return weight @ z + bias


def _modulate_gain(frozen: Tensor, gain: Tensor) -> Tensor:
    return frozen * (1 + gain)


def _adapt(
    _x: Tensor,
    y: Tensor,
    gain: Tensor,
    shift: Tensor,
    down: Tensor,
    up: Tensor,
    down_bias: Tensor,
    up_bias: Tensor,
) -> Tensor:
    modulated = y * (1 + gain) + shift
    return y + (modulated @ down + down_bias) @ up + up_bias


def _add_row_scores(scores: Tensor, gain: Tensor, shift: Tensor, matrix: Tensor) -> Tensor:
    """Add (side, side) blocks for the rows of the image, block-diagonally; none for the class."""
    side = matrix.shape[-1]
    blocks = (matrix * (1 + gain) + shift).unflatten(0, (side, side))  # (row, patch, patch)
    eye = torch.eye(side, dtype=matrix.dtype, device=matrix.device)
    whole = (blocks[:, :, None, :] * eye[:, None, :, None]).flatten(2).flatten(0, 1)
    return scores + F.pad(whole, (1, 0, 1, 0))
