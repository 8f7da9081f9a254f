"""Trained copies of frozen tensors."""

from torch import Tensor, nn

from methods.kit.contract.adapter import Adapter
from methods.kit.core.clip import Site


def train_copy(adapter: Adapter, name: str, site: Site, part: str) -> None:
    """Own a copy of the frozen weight or bias at a site, which the tower reads instead."""
    frozen = adapter.clip.weight(site) if part == "weight" else adapter.clip.bias(site)
    copy = adapter.own(name, nn.Parameter(frozen.clone()))
    adapter.reweight(site, _replace, copy, part=part)


def _replace(_frozen: Tensor, copy: Tensor) -> Tensor:
    return copy
