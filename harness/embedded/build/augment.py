"""Augmentation of drawings in batches: geometry, colour, texture; its strength grows in training.

Full strength from the start keeps a vision transformer from learning anything for long.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(
    mono: Tensor,
    inside: Tensor,
    colour: Tensor,
    mirrors: Tensor,
    size: int,
    strength: float,
    rng: torch.Generator,
) -> Tensor:
    """Drawings to RGB in [0, 1] (about): (k + m, 3, size, size), monochrome ones first.

    ``mono`` (k, s, s) ink, ``inside`` (k, s, s) what its lines enclose, ``colour`` (m, s, s, 4),
    all uint8; ``mirrors`` (k + m,) says which may be mirrored; ``strength`` from 0 to 1 scales
    everything.
    """
    k = len(mono)
    draw = _Draw(rng, mono.device, strength)
    grid = _affine(draw, mirrors, size)
    drawn = _warp(torch.stack((mono, inside), 1).float().div_(255), grid[:k])
    painted = _paint(draw, drawn[:, :1], drawn[:, 1:])
    if len(colour):
        rgba = colour.float().div_(255).permute(0, 3, 1, 2)
        rgba = torch.cat((rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]), 1)
        painted = torch.cat((painted, _place(draw, _warp(rgba, grid[k:]))))
    return _texture(draw, painted)


class _Draw:
    """Uniform numbers, and choices made with a probability, from one generator."""

    def __init__(self, rng: torch.Generator, device: torch.device, strength: float) -> None:
        self.rng, self.device, self.strength = rng, device, strength

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        drawn = torch.rand(*shape, generator=self.rng, device=self.device)
        return low + (high - low) * drawn

    def chosen(self, n: int, share: float) -> Tensor:
        """(n, 1, 1, 1) bool, each True with the given probability."""
        return self.uniform(n, 1, 1, 1) < share


def _affine(draw: _Draw, mirrors: Tensor, size: int) -> Tensor:
    """Sampling grids (n, size, size, 2): scale, turn, aspect, shift, mirror."""
    n, much = len(mirrors), 0.1 + 0.9 * draw.strength
    scale = 1.02 + much * draw.uniform(n, low=-0.2, high=0.25)  # below 1 enlarges
    turn = much * draw.uniform(n, low=-0.22, high=0.22) * (draw.uniform(n) < 0.6)
    aspect = 1 + much * draw.uniform(n, low=-0.1, high=0.1)
    flip = torch.where(mirrors & (draw.uniform(n) < 0.3 * draw.strength), -1.0, 1.0)
    shift = much * draw.uniform(n, 2, low=-0.09, high=0.09)
    cos, sin = turn.cos(), turn.sin()
    first = torch.stack((cos * scale * aspect * flip, -sin * scale * aspect, shift[:, 0]), 1)
    second = torch.stack((sin * scale / aspect, cos * scale / aspect, shift[:, 1]), 1)
    theta = torch.stack((first, second), 1)
    return F.affine_grid(theta, [n, 1, size, size], align_corners=False)


def _warp(x: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _paint(draw: _Draw, ink: Tensor, inside: Tensor) -> Tensor:
    """Ink in a colour on a background: half black on white, the rest free, some with a gradient.

    Some are filled between their lines, as coloured drawings are; some of those in greys on black,
    as product photos are.
    """
    k, size = len(ink), ink.shape[-1]
    how = draw.uniform(k, 1, 1, 1) * draw.strength
    free_front, free_back = draw.uniform(k, 3, 1, 1), draw.uniform(k, 3, 1, 1)
    close = (free_front - free_back).abs().mean(1, keepdim=True) < 0.25
    light = free_front.mean(1, keepdim=True) > 0.5
    free_back = torch.where(
        close, torch.where(light, free_back * 0.25, 1 - free_back * 0.25), free_back
    )
    front = torch.where(how > 0.5, free_front * 0.7, torch.zeros_like(free_front))
    front = torch.where(how > 0.75, free_front, front)
    back = torch.where(how > 0.75, free_back, torch.ones_like(free_back))
    swap = draw.chosen(k, 0.2 * draw.strength)
    front, back = torch.where(swap, back, front), torch.where(swap, front, back)
    product = draw.chosen(k, 0.15 * draw.strength)
    front = torch.where(product, draw.uniform(k, 1, 1, 1, low=0.2), front)
    back = torch.where(product, torch.zeros_like(back), back)
    far = (front + draw.uniform(k, 3, 1, 1, low=-0.6, high=0.6)).clamp(0, 1)
    far = torch.where(draw.chosen(k, 0.35) & (how > 0.5) & ~product, far, front)
    x = back + (front - back + (far - front) * _ramp(draw, k, size)) * ink
    filled = draw.chosen(k, 0.3 * draw.strength) | product
    mixed = back + (front - back) * draw.uniform(k, 1, 1, 1, low=0.15, high=0.9)
    paint = torch.where(draw.chosen(k, 0.5) & ~product, draw.uniform(k, 3, 1, 1), mixed)
    return torch.where(filled, x + (paint - back) * inside, x)


def _place(draw: _Draw, rgba: Tensor) -> Tensor:
    """Coloured art on a background, sometimes with other colours, sometimes grey."""
    m, size, much = len(rgba), rgba.shape[-1], draw.strength
    free = draw.uniform(m, 3, 1, 1)
    back = torch.where(draw.chosen(m, 0.4 * much), free, torch.ones_like(free))
    far = (back + draw.uniform(m, 3, 1, 1, low=-0.5, high=0.5)).clamp(0, 1)
    far = torch.where(draw.chosen(m, 0.2 * much), far, back)
    back = back + (far - back) * _ramp(draw, m, size)
    x = rgba[:, :3] + back * (1 - rgba[:, 3:])
    jitter = draw.uniform(m, 3, 1, 1, low=-0.15, high=0.15)
    contrast = draw.uniform(m, 1, 1, 1, low=0.7, high=1.3)
    jittered = ((x - 0.5) * contrast + 0.5 + jitter).clamp(0, 1)
    x = torch.where(draw.chosen(m, 0.5 * much), jittered, x)
    return torch.where(draw.chosen(m, 0.12), x.mean(1, keepdim=True), x)


def _ramp(draw: _Draw, n: int, size: int) -> Tensor:
    """A gradient from 0 to 1 across the picture, in one of four directions: (n, 1, size, size)."""
    line = torch.linspace(0, 1, size, device=draw.device)
    down = line.view(1, 1, size, 1).expand(n, 1, size, size)
    ramp = torch.where(draw.chosen(n, 0.5), down, down.transpose(2, 3))
    return torch.where(draw.chosen(n, 0.5), ramp, 1 - ramp)


def _texture(draw: _Draw, x: Tensor) -> Tensor:
    """What photos have and drawings have not: blur, grain, uneven light."""
    n, size, much = len(x), x.shape[-1], draw.strength
    soft = F.interpolate(F.avg_pool2d(x, 2), size=(size, size), mode="bilinear")
    softer = F.interpolate(F.avg_pool2d(x, 4), size=(size, size), mode="bilinear")
    soft = torch.where(draw.chosen(n, 0.3), softer, soft)
    x = torch.where(draw.chosen(n, 0.2 * much), soft, x)
    light = 1 + draw.uniform(n, 1, 1, 1, low=-0.3, high=0.3) * (_ramp(draw, n, size) - 0.5)
    x = torch.where(draw.chosen(n, 0.25 * much), x * light, x)
    grain = torch.randn(x.shape, generator=draw.rng, device=draw.device)
    grain = grain * draw.uniform(n, 1, 1, 1, high=0.08)
    x = torch.where(draw.chosen(n, 0.25 * much), x + grain, x)
    return x + 0.03 * much * torch.randn(n, 1, 1, 1, generator=draw.rng, device=draw.device)
