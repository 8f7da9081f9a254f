"""Low-rank pairs of factors: y += scale * up(down(x))."""

import math

import torch
from torch import nn

from methods.kit.binding.wiring import Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.core.clip import Site
from methods.kit.core.errors import UsageError


def own_factors(adapter: Adapter, name: str, site: Site, rank: int) -> tuple[Ref, Ref]:
    """Own ``down`` (rank, in), Kaiming-uniform as in LoRA, and ``up`` (out, rank), zero."""
    out_width, in_width = site.shape
    if rank > min(out_width, in_width):
        raise UsageError(
            f"method.rank: {rank} is larger than the width {min(out_width, in_width)} of {site}"
        )
    down = nn.Parameter(torch.empty(rank, in_width))
    nn.init.kaiming_uniform_(down, a=math.sqrt(5))
    up = nn.Parameter(torch.zeros(out_width, rank))
    return adapter.own(f"{name}.down", down), adapter.own(f"{name}.up", up)
