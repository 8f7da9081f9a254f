"""Values of adapters for tests: stacked over trials, or put back from a saved state."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from methods.kit import Adapter


def stack(adapters: Sequence[Adapter]) -> dict[str, Tensor]:
    """The values of adapters of one shape with a leading trial axis, for ``bind(trials=K)``."""
    first = adapters[0].values()
    stacked = {name: torch.stack([a.values()[name].detach() for a in adapters]) for name in first}
    for name, value in first.items():
        stacked[name].requires_grad_(isinstance(value, nn.Parameter))
    return stacked


@torch.no_grad()
def load_state(adapter: Adapter, state: Mapping[str, Tensor]) -> None:
    """Put a saved state back; names and shapes must be those of the adapter."""
    own = adapter.saved()
    assert set(state) == set(own)
    for name, value in own.items():
        assert value.shape == state[name].shape
        value.copy_(state[name])
