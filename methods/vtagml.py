"""VTAGML (Bhattacharjee et al., 2023, arXiv 2308.12372): adapters that are told which task it is.

Written for a Swin and dense tasks; the parts are those of the repository (IVRL/VTAGML), what is not
there and how they act in the image tower of CLIP is our reading. Tasks are the data sets that are
trained together (multi_task). Task t has an embedding, a row of a table, and each block its own
z = Linear(z_t). With FiLM(z, x) = (1 + g(z)) * x + s(z), where g and s are linear in z,

- adapter: the output y of the block becomes y + Up(Down(FiLM(z, y))), width to a third of it and
  back, with no nonlinearity. The repository hands a stream h from adapter to adapter, beside the
  block's own x, and decodes h; here h goes on inside the residual stream, which is x + h.
- ``norms`` (TSN): the gains of ln_1 and ln_2 are multiplied by 1 + g(z), with the block's own g.
- ``attention`` (TAA): a matrix (patches, side), FiLM-modulated by z, is cut into ``side`` blocks
  that are set block-diagonally into (patches, patches) and added to the scores of every head, so
  that patches of one row of the image attend to each other by task. The repository's windows are
  7 x 7, here the whole grid is one; the class token's scores stay as they are, and so does the
  last block, where it alone is computed.
- ``affinity`` (TROA): z_t is replaced by sum_s A_ts z_s, with A the softmax of each row of the mean
  cosines between the tasks' gradients so far. The repository has no TROA, so that this is a guess.

``init="normal"``: Down and Up from N(0, 0.02), so the adapted model does not start as the frozen
one; ``"frozen"``: Up is zero. g, s and the matrix start at zero. Departure: the repository trains
patch embedding, norms and decoders too, and the betas of its AdamW are 0.9 and 0.98. On a single
data set there is one embedding and no affinity: a linear bottleneck, a gain for each norm and a
bias of attention, all learnt through one vector. Images that no task claims (data sets that are
only tested) are seen as of the first task.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.kit import Adapter, Block, Clip, Method, PositiveInt, Ref, Task, UsageError
from methods.kit.parts import dense_adapter
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
        which = self._embedding(adapter, task)
        for block in tower.blocks(self.layers):
            z = self._linear(adapter, f"{block.key}.embed", which, self.embedding, zero=False)
            gain = self._linear(adapter, f"{block.key}.gain", z, block.width)
            shift = self._linear(adapter, f"{block.key}.shift", z, block.width)
            self._adapter(adapter, block, gain, shift)
            if self.norms:
                for name in ("ln_1", "ln_2"):
                    adapter.reweight(block.site(name), _gained, gain)
            if self.attention and block.index < tower.depth - 1:
                self._scores(adapter, block, z, tower.length - 1)
        return adapter

    def _embedding(self, adapter: Adapter, task: Task) -> Ref:
        """The vector of the task that a batch is of."""
        count = len(task.names)
        table = adapter.own("shared.tasks", nn.Parameter(torch.randn(count, self.embedding)))
        which = adapter.tracked("task", torch.zeros((), dtype=torch.long))
        if not self.affinity:
            return adapter.derive("shared.z", of_task, which, table)
        alike = adapter.tracked("affinity", torch.eye(count))
        for i, name in enumerate(task.tasks):
            fn = partial(_shares, row=i)
            adapter.report(WEIGHTS, fn, alike, row=name, columns=task.tasks)
        return adapter.derive("shared.z", _mixed, which, table, alike)

    def _linear(self, adapter: Adapter, name: str, z: Ref, out: int, zero: bool = True) -> Ref:
        """A vector (out,), linear in z: zero at first, or as a default nn.Linear draws it."""
        bound = 0.0 if zero else 1 / math.sqrt(self.embedding)
        weight = torch.empty(out, self.embedding).uniform_(-bound, bound)
        bias = torch.empty(out).uniform_(-bound, bound)
        return adapter.derive(
            name,
            _affine,
            z,
            adapter.own(f"{name}.weight", nn.Parameter(weight)),
            adapter.own(f"{name}.bias", nn.Parameter(bias)),
        )

    def _adapter(self, adapter: Adapter, block: Block, gain: Ref, shift: Ref) -> None:
        small = max(1, block.width // self.reduction)
        drawn: dense_adapter.Init = "kaiming" if self.init == "frozen" else "normal"
        own = dense_adapter.own(adapter, block, small, drawn)
        adapter.after(block.site("block"), _adapt, gain, shift, *own.refs)

    def _scores(self, adapter: Adapter, block: Block, z: Ref, patches: int) -> None:
        side = math.isqrt(patches)
        if side**2 != patches:
            raise UsageError(
                f"method.attention: {patches} patches are no square grid; method.attention=false"
            )
        matrix = adapter.own(f"{block.key}.taa", nn.Parameter(torch.zeros(patches, side)))
        gain = self._linear(adapter, f"{block.key}.taa_gain", z, side)
        shift = self._linear(adapter, f"{block.key}.taa_shift", z, side)
        adapter.before(block.site("scores"), _within_rows, gain, shift, matrix)


def _mixed(which: Tensor, table: Tensor, alike: Tensor) -> Tensor:
    return of_task(which, alike.softmax(-1) @ table)


def _shares(alike: Tensor, row: int) -> Tensor:
    return alike[row].softmax(-1)


def _affine(z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return weight @ z + bias


def _gained(frozen: Tensor, gain: Tensor) -> Tensor:
    return frozen * (1 + gain)


def _adapt(
    _x: Tensor,
    y: Tensor,
    gain: Tensor,
    shift: Tensor,
    down: Tensor,
    down_bias: Tensor,
    up: Tensor,
    up_bias: Tensor,
) -> Tensor:
    seen = y * (1 + gain) + shift
    return y + (seen @ down + down_bias) @ up + up_bias


def _within_rows(scores: Tensor, gain: Tensor, shift: Tensor, matrix: Tensor) -> Tensor:
    """Adds (side, side) blocks for the rows of the image, block-diagonally; none for the class."""
    side = matrix.shape[-1]
    blocks = (matrix * (1 + gain) + shift).unflatten(0, (side, side))  # (row, patch, patch)
    eye = torch.eye(side, dtype=matrix.dtype, device=matrix.device)
    whole = (blocks[:, :, None, :] * eye[:, None, :, None]).flatten(2).flatten(0, 1)
    return scores + F.pad(whole, (1, 0, 1, 0))
