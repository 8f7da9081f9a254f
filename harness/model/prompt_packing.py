"""Prompts without padding: each token is one row, and a common prefix is one row per token in all.

Under a causal mask the activations of a common prefix ("a photo of a") are the same for every
prompt, and tokens behind the pooled one are never used. So linear maps run over the prefix and each
prompt's own tokens; only attention sees sequences of one length.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.model.tower_shape import TowerShape
from methods.kit.binding.wiring import Wiring


@dataclass(frozen=True)
class Packing:
    """Layout of the R rows of n prompts: the shared prefix first, then prompt after prompt."""

    rows: Tensor  # (n * length,) row of each place of the padded sequences; padding: row 0
    places: Tensor  # (R,) a place of each row in the padded sequences
    pooled: Tensor  # (n,) row of the pooled token
    ends: Tensor  # (n,) its position in its prompt
    prefix: int  # shared tokens

    def to(self, device: torch.device | str) -> "Packing":
        tensors = (self.rows, self.places, self.pooled, self.ends)
        rows, places, pooled, ends = (t.to(device) for t in tensors)
        return Packing(rows, places, pooled, ends, self.prefix)

    def pad(self, x: Tensor) -> Tensor:
        """(..., R, width) to sequences of one length: (..., n * length, width)."""
        return x.index_select(-2, self.rows)

    def strip(self, x: Tensor) -> Tensor:
        """(..., n * length, width) back to rows: (..., R, width)."""
        return x.index_select(-2, self.places)


@dataclass(frozen=True)
class Prompts:
    """Tokenised prompts, cut and packed where that is exact."""

    ids: Tensor  # (classes, length)
    pooled: Tensor  # (classes,) position of the pooled token
    packed: Packing | None = None  # without padding
    shared: Packing | None = None  # and with the common prefix once
    more: tuple["Prompts", ...] = ()  # the same classes in the other templates of an ensemble

    def to(self, device: torch.device | str) -> "Prompts":
        packed, shared = (p and p.to(device) for p in (self.packed, self.shared))
        more = tuple(p.to(device) for p in self.more)
        return Prompts(self.ids.to(device), self.pooled.to(device), packed, shared, more)

    def __len__(self) -> int:
        return len(self.ids)


def pack_tokens(tokens: Tensor, shape: TowerShape) -> Prompts:
    """Return prompts for token ids (classes, context), cut where that changes nothing."""
    if shape.pool == "argmax":
        pooled = tokens.argmax(-1)
    elif shape.pool == "eos":
        pooled = (tokens == shape.eos).int().argmax(-1)
    else:
        pooled = torch.full((len(tokens),), 0 if shape.pool == "first" else tokens.shape[1] - 1)
    if not shape.ignores_padding:
        return Prompts(tokens, pooled)
    ids = tokens[:, : int(pooled.max()) + 1].contiguous()
    packed, shared = (pack_prompts(ids, pooled, share) for share in (False, True))
    return Prompts(ids, pooled, packed, shared)


def packing_for(prompts: Prompts, wiring: Wiring, training: bool) -> Packing | None:
    """Return the tightest packing that changes nothing.

    A function that sees whole sequences needs padded ones, and with dropout every prompt draws a
    mask for its own copy of the prefix.
    """
    if wiring.sees_sequences("text"):
        return None
    return prompts.packed if training and wiring.draws_in("text") else prompts.shared


def pack_prompts(ids: Tensor, pooled: Tensor, share: bool) -> Packing:
    """Pack token ids (n, length), pooled at positions (n,); ``share`` the common prefix."""
    n, length = ids.shape
    prefix = _common_prefix(ids, pooled) if share and n > 1 else 0
    own = pooled + 1 - prefix  # (n,) tokens of its own
    starts = prefix + own.cumsum(0) - own
    position = torch.arange(length).expand(n, length)
    rows = torch.where(position < prefix, position, starts[:, None] + position - prefix)
    used = position <= pooled[:, None]
    first = used & ((position >= prefix) | (torch.arange(n) == 0)[:, None])
    return Packing(
        rows=torch.where(used, rows, torch.zeros_like(rows)).flatten(),
        places=first.flatten().nonzero()[:, 0],
        pooled=starts + own - 1,
        ends=pooled,
        prefix=prefix,
    )


def _common_prefix(ids: Tensor, pooled: Tensor) -> int:
    """How many tokens all prompts begin with; each keeps at least the pooled one to itself."""
    same = (ids == ids[0]).all(0)[: int(pooled.min())]
    return int(same.int().cumprod(0).sum())
