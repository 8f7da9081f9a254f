"""Cached casts of frozen weights under autocast, which itself caches those of parameters only."""

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_cast: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def autocasting(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def cast_once(weight: Tensor) -> Tensor:
    """Return a frozen fp32 weight in the type of autocast; other tensors and views as they are.

    A cast is cached as long as the weight lives and is not written to.
    """
    device = weight.device.type
    if weight.requires_grad or weight._base is not None or not autocasting(device):
        return weight
    if weight.dtype != torch.float32 or torch._C._functorch.is_functorch_wrapped_tensor(weight):
        return weight
    version, cached = _cast.get(weight, (-1, None))
    if version != weight._version:
        cached = weight.to(torch.get_autocast_dtype(device))
        _cast[weight] = (weight._version, cached)
    return cached
