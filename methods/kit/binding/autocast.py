"""Frozen weights under autocast, cast once: autocast itself keeps only casts of what trains."""

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_cast: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def autocasting(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def once(weight: Tensor) -> Tensor:
    """A weight in the type of autocast, where that is on, the weight frozen and whole; else as it
    is. What is cast is kept as long as the weight lives and is not written to."""
    device = weight.device.type
    if weight.requires_grad or weight._base is not None or not autocasting(device):
        return weight
    if weight.dtype != torch.float32 or torch._C._functorch.is_functorch_wrapped_tensor(weight):
        return weight
    version, kept = _cast.get(weight, (-1, None))
    if version != weight._version:
        kept = weight.to(torch.get_autocast_dtype(device))
        _cast[weight] = (weight._version, kept)
    return kept
