"""Low-rank paths in few kernels: the same numbers as one by one, with less time and memory.

The pairs of all sites of one layout (q, k and v of every block of a tower) are assembled at once,
and a frozen linear map with a low-rank pair is one autograd function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from methods.kit.binding.autocast import autocasting
from methods.kit.binding.wiring import Add

Pair = tuple[Tensor, Tensor]  # down (..., R, in), up (..., out, R)


@dataclass(frozen=True)
class Layout:
    """The low-rank paths of a site: which of them share a ``down``, their scales and rows."""

    slots: tuple[int, ...]
    scales: tuple[float, ...]
    rows: tuple[tuple[int, int] | None, ...]

    @classmethod
    def of(cls, adds: Sequence[Add]) -> "Layout":
        downs = list(dict.fromkeys(a.down for a in adds))
        slots = tuple(downs.index(a.down) for a in adds)
        return cls(slots, tuple(a.scale for a in adds), tuple(a.rows for a in adds))

    @property
    def plain(self) -> bool:
        """Whether there is one path, which is the pair already."""
        return self.scales == (1.0,) and self.rows == (None,)

    def blocks(self, out: int, width: int) -> tuple[int, ...] | None:
        """Return the block of ``width`` output rows of each path; None unless each has one."""
        starts = [0 if rows is None else rows[0] for rows in self.rows]
        if out % width or any(start % width for start in starts):
            return None
        return tuple(start // width for start in starts)


def pair(downs: Sequence[Tensor], ups: Sequence[Tensor], layout: Layout, out: int) -> Pair:
    """Return the paths of one site as a pair: ``downs`` one a slot, ``ups`` one a path."""
    whole: dict[int, Tensor] = {}
    for up, slot, scale, rows in zip(ups, layout.slots, layout.scales, layout.rows, strict=True):
        up = up if scale == 1.0 else up * scale
        start, stop = rows or (0, out)
        up = F.pad(up, (0, 0, start, out - stop)) if stop - start < out else up
        whole[slot] = whole[slot] + up if slot in whole else up
    if len(downs) == 1:
        return downs[0], whole[0]
    return torch.cat([*downs], -2), torch.cat([*whole.values()], -1)


def pairs(
    downs: Sequence[Sequence[Tensor]], ups: Sequence[Sequence[Tensor]], layout: Layout, out: int
) -> list[Pair]:
    """Return :func:`pair` of several sites of one layout, in few kernels."""
    batched = None if layout.plain else _batched_pairs(downs, ups, layout, out)
    if batched is not None:
        return batched
    return [pair(down, up, layout, out) for down, up in zip(downs, ups, strict=True)]


def _batched_pairs(
    downs: Sequence[Sequence[Tensor]], ups: Sequence[Sequence[Tensor]], layout: Layout, out: int
) -> list[Pair] | None:
    """Handle paths of one size, each with its own ``down`` or all with one; else return None."""
    sites, paths, slots = len(ups), len(layout.slots), len(downs[0])
    shapes = {u.shape for up in ups for u in up} | {(d.shape, 0) for down in downs for d in down}
    width = ups[0][0].shape[-2]
    blocks = layout.blocks(out, width)
    if len(shapes) > 2 or blocks is None or slots not in (1, paths):
        return None
    shared = slots == 1 and paths > 1
    if shared and blocks != tuple(range(out // width)):
        return None
    up = torch.stack([u for each in ups for u in each]).unflatten(0, (sites, paths))
    if shared:
        scales = _scales(layout.scales, up.dtype, up.device)
        up = up.movedim(1, -3)  # (sites, ..., paths, width, rank)
        up = (up if set(layout.scales) == {1.0} else up * scales[:, None, None]).flatten(-3, -2)
    else:  # (sites, ..., 1, width, paths, rank) times (blocks, 1, paths, 1)
        mask = _block_scales(layout.scales, blocks, out // width, up.dtype, up.device)
        up = up.movedim(1, -2).unsqueeze(-4) * mask[:, None, :, None]
        up = up.flatten(-2).flatten(-3, -2)
    if slots == 1:
        return [(down[0], u) for down, u in zip(downs, up.unbind(), strict=True)]
    down = torch.stack([d for each in downs for d in each]).unflatten(0, (sites, slots))
    return list(zip(down.movedim(1, -3).flatten(-3, -2).unbind(), up.unbind(), strict=True))


@lru_cache(maxsize=64)
def _scales(scales: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the scales on the device, copied once: a step must not wait for it."""
    return torch.tensor(scales, dtype=dtype, device=device)


@lru_cache(maxsize=64)
def _block_scales(
    scales: tuple[float, ...],
    blocks: tuple[int, ...],
    count: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return (blocks, paths): the scale of a path at its block, else 0."""
    matrix = torch.zeros(count, len(scales), dtype=torch.float64)
    for i, (scale, block) in enumerate(zip(scales, blocks, strict=True)):
        matrix[block, i] = scale
    return matrix.to(dtype).to(device)


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    down: Tensor,
    up: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Return W x + b + up(down(mask x)) over rows, with W and b frozen.

    x, the pair and the mask may have a trial axis.
    """
    y: Tensor = _Linear.apply(x, weight, bias, down, up, mask)
    return y


def fits(x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor) -> bool:
    """Whether :func:`linear` applies: W and b frozen, one type, matching trial axes."""
    frozen = weight.dim() == 2 and not weight.requires_grad
    frozen = frozen and (bias is None or (bias.dim() == 1 and not bias.requires_grad))
    alike = x.dim() == down.dim() == up.dim()
    shared = x.dim() < down.dim() == up.dim() and not x.requires_grad
    one_type = x.dtype == weight.dtype == down.dtype == up.dtype
    return frozen and (alike or shared) and one_type and not autocasting(x.device.type)


class _Linear(torch.autograd.Function):
    """Adds the update, and the second gradient of x, in place.

    In place with ``out=``, because torch's counter of operations does not know ``addmm_``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        y = F.linear(x.flatten(0, -2), weight, bias).unflatten(0, x.shape[:-1])
        seen = x if mask is None else x * mask
        small = seen @ down.mT
        ctx.save_for_backward(seen, small, weight, down, up, mask)
        ctx.shape = x.shape
        if y.dim() == 2 and small.dim() == 2:
            return torch.addmm(y, small, up.mT, out=y)
        return torch.baddbmm(y, small, up.mT, out=None if y.dim() == 2 else y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        seen, small, weight, down, up, mask = ctx.saved_tensors
        wants_x, _, _, wants_down, wants_up, _ = ctx.needs_input_grad
        grad_x = grad_down = grad_up = None
        back = grad @ up
        if wants_x:
            grad_x = (grad.flatten(0, -2) @ weight).unflatten(0, ctx.shape[:-1])
            if mask is not None:
                grad_x.addcmul_(back @ down, mask)
            else:
                add = torch.addmm if grad_x.dim() == 2 else torch.baddbmm
                grad_x = add(grad_x, back, down, out=grad_x)
        if wants_down:
            grad_down = back.mT @ seen
        if wants_up:
            grad_up = grad.mT @ small
        return grad_x, None, None, grad_down, grad_up, None
