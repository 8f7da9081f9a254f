"""Switches that turn everything attached to a block on and off."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from methods.kit.binding.wiring import Call, Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.core.clip import Block


def attached_blocks(adapter: Adapter) -> list[Block]:
    """Return the blocks with anything attached, image tower first, from input to output."""
    touched = {(tower, layer) for tower, layer, _ in adapter.wiring.sites if layer is not None}
    return [block for block in adapter.clip.blocks() if (block.tower, block.index) in touched]


def parameters_of(adapter: Adapter, block: Block) -> list[str]:
    """Return the parameters under the name of a block, without those that blocks share."""
    return [name for name in adapter.trained() if name.startswith(f"{block.key}.")]


def attach_switch(adapter: Adapter, block: Block, keep: Ref) -> None:
    """Disable everything attached to the block's sites where the number ``keep`` is zero.

    Otherwise results are bit for bit those without a switch.
    """
    for key, site in adapter.wiring.sites.items():
        if key[:2] == (block.tower, block.index):
            name = ".".join(map(str, key))
            for i, add in enumerate(site.adds):
                up = adapter.derive(f"{name}.kept.{i}", torch.mul, add.up, keep)
                site.adds[i] = replace(add, up=up)
            for part in ("weight", "bias", "before", "after"):
                inputs = 2 if part == "after" else 1
                setattr(site, part, _switched(getattr(site, part), inputs, keep))


def _switched(calls: Sequence[Call], inputs: int, keep: Ref) -> list[Call]:
    """Wrap calls whose first ``inputs`` arguments are activations; if off, the last is returned."""
    return [
        replace(call, fn=partial(_either, fn=call.fn, inputs=inputs), refs=(keep, *call.refs))
        for call in calls
    ]


def _either(*args: Any, fn: Callable[..., Tensor], inputs: int) -> Tensor:
    given, keep, tensors = args[:inputs], args[inputs], args[inputs + 1 :]
    return torch.where(keep > 0, fn(*given, *tensors), given[-1])
