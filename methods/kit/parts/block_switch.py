"""Switching what an adapter hangs on a block on and off as a whole, whatever hangs there."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from methods.kit.binding.wiring import Add, Attached, Call, Ref
from methods.kit.contract.adapter import Adapter
from methods.kit.core.clip import Block


def blocks(adapter: Adapter) -> list[Block]:
    """The blocks in which an adapter hangs anything, image tower first, from input to output."""
    at = {(tower, layer) for tower, layer, _ in adapter.wiring.sites if layer is not None}
    return [block for block in adapter.clip.blocks() if (block.tower, block.index) in at]


def members(adapter: Adapter, block: Block) -> list[str]:
    """What trains under the name of a block: not what blocks share."""
    return [name for name in adapter.trained() if name.startswith(f"{block.key}.")]


def switch(adapter: Adapter, block: Block, keep: Ref) -> None:
    """Where the number ``keep`` is zero, everything that hangs on the block's sites is not there.

    Where it is not, the same bits come out as without a switch.
    """
    for key, attached in adapter.wiring.sites.items():
        if key[:2] == (block.tower, block.index):
            name = ".".join(map(str, key))
            attached.adds = [
                _switched_path(adapter, f"{name}.kept.{i}", add, keep)
                for i, add in enumerate(attached.adds)
            ]
            _switch_calls(attached, keep)


def _switched_path(adapter: Adapter, name: str, add: Add, keep: Ref) -> Add:
    return replace(add, up=adapter.derive(name, torch.mul, add.up, keep))


def _switch_calls(attached: Attached, keep: Ref) -> None:
    attached.weight = _switched(attached.weight, 1, keep)
    attached.bias = _switched(attached.bias, 1, keep)
    attached.before = _switched(attached.before, 1, keep)
    attached.after = _switched(attached.after, 2, keep)


def _switched(calls: Sequence[Call], seen: int, keep: Ref) -> list[Call]:
    """Calls whose first ``seen`` arguments are what passes; the last of those goes on if off."""
    return [
        replace(call, fn=partial(_either, fn=call.fn, seen=seen), refs=(keep, *call.refs))
        for call in calls
    ]


def _either(*args: Any, fn: Callable[..., Tensor], seen: int) -> Tensor:
    passing, keep, tensors = args[:seen], args[seen], args[seen + 1 :]
    return torch.where(keep > 0, fn(*passing, *tensors), passing[-1])
