"""The device that the suite measures on: a CPU unless told otherwise."""

import torch


class _Place:
    def __init__(self) -> None:
        self.device = torch.device("cpu")


_place = _Place()


def device() -> torch.device:
    return _place.device


def use(chosen: torch.device | str) -> None:
    """Cases that are made from now on are made there."""
    _place.device = torch.device(chosen)


def on_cpu() -> bool:
    return _place.device.type == "cpu"


def images(few: int) -> int:
    """Images a step: as few as a CPU has time for, or what is usual on a GPU."""
    return few if on_cpu() else 32


def wait(on: torch.device | None = None) -> None:
    """Until a device, else that of the suite, has done what it was told."""
    on = on or _place.device
    if on.type == "cuda":
        torch.cuda.synchronize(on)
