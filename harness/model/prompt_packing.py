"""Prompts without padding: each token is a row once, a prefix that all share only once in all.

Under a causal mask the activations of a common prefix ("a photo of a") are the same for every
prompt, and what stands behind the pooled token is never looked at. So linear maps run over the
prefix and each prompt's own tokens, and only attention sees sequences of one length.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """How the R rows of n prompts lie: the shared prefix first, then prompt after prompt."""

    rows: Tensor  # (n * length,) row of each place of the padded sequences; padding: row 0
    places: Tensor  # (R,) a place of each row in the padded sequences
    pooled: Tensor  # (n,) row of the token that is pooled
    ends: Tensor  # (n,) its position in its prompt
    prefix: int  # tokens that are shared

    def to(self, device: torch.device | str) -> "Packing":
        return Packing(
            self.rows.to(device),
            self.places.to(device),
            self.pooled.to(device),
            self.ends.to(device),
            self.prefix,
        )

    def pad(self, x: Tensor) -> Tensor:
        """(..., R, width) to sequences of one length: (..., n * length, width)."""
        return x.index_select(-2, self.rows)

    def strip(self, x: Tensor) -> Tensor:
        """(..., n * length, width) back to rows: (..., R, width)."""
        return x.index_select(-2, self.places)


def pack_prompts(ids: Tensor, pooled: Tensor, share: bool) -> Packing:
    """The packing of token ids (n, length), pooled at positions (n,); ``share`` the prefix."""
    n, length = ids.shape
    prefix = _common_prefix(ids, pooled) if share and n > 1 else 0
    own = pooled + 1 - prefix  # (n,) tokens of its own
    starts = prefix + own.cumsum(0) - own
    position = torch.arange(length).expand(n, length)
    rows = torch.where(position < prefix, position, starts[:, None] + position - prefix)
    there = position <= pooled[:, None]
    first = there & ((position >= prefix) | (torch.arange(n) == 0)[:, None])
    places = first.flatten().nonzero()[:, 0]
    return Packing(
        rows=torch.where(there, rows, torch.zeros_like(rows)).flatten(),
        places=places,
        pooled=starts + own - 1,
        ends=pooled,
        prefix=prefix,
    )


def _common_prefix(ids: Tensor, pooled: Tensor) -> int:
    """How many tokens all prompts begin with; each keeps at least the pooled one to itself."""
    same = (ids == ids[0]).all(0)[: int(pooled.min())]
    return int(same.int().cumprod(0).sum())
