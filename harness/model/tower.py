"""Our own forward pass of a CLIP tower over frozen weights, with sites where methods act.

Equal to open_clip's encoders to 1e-5 in fp32 (tests/harness/model/test_tower.py), and faster: all
frozen products run on flat rows, attention is one packed product, text is packed without padding
and the last block computes only the token that is pooled. The weights are read, never written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.model.attention import attend, attend_packed
from harness.model.prompt_packing import Packing, pack_prompts
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.binding.wiring import Wiring
from methods.kit.core.clip import Key, weight_name

FROZEN = BoundAdapter(Wiring(), {})
MAX_SEQUENCES = 256
CACHE_BYTES = 8_000_000  # bytes


@dataclass(frozen=True)
class TowerShape:
    """The geometry of one tower and the options of open_clip's builds that change its numbers."""

    name: Literal["image", "text"]
    depth: int
    width: int
    heads: int
    hidden: int
    length: int
    activation: Callable[[Tensor], Tensor]
    eps: float
    causal: bool = False
    pool: Literal["first", "last", "argmax", "eos", "mean"] = "first"
    norm_before_pool: bool = True  # matters for 'mean' only
    eos: int = 0
    patch: tuple[int, int] = (0, 0)
    image_size: tuple[int, int] = (0, 0)

    @property
    def cuts(self) -> bool:
        """Whether padding behind the pooled token can be left out."""
        return self.causal and self.pool in ("argmax", "eos")

    def at_once(self, device: torch.device) -> int:
        """Sequences that best pass together where nothing is learnt: many on a GPU, on a CPU as
        many as keep the widest layer near its caches (each new page of memory costs time too)."""
        if device.type != "cpu":
            return MAX_SEQUENCES
        fitting = CACHE_BYTES // (4 * self.length * self.hidden)
        return max(16, min(MAX_SEQUENCES, fitting))


@dataclass(frozen=True)
class Prompts:
    """Tokenised prompts, cut and packed where that is exact."""

    ids: Tensor  # (classes, length)
    pooled: Tensor  # (classes,) position of the token that is pooled
    packed: Packing | None = None  # without padding
    shared: Packing | None = None  # and with the common prefix once
    more: tuple["Prompts", ...] = ()  # the same classes in the other templates of an ensemble

    def to(self, device: torch.device | str) -> "Prompts":
        packed, shared = (p and p.to(device) for p in (self.packed, self.shared))
        more = tuple(p.to(device) for p in self.more)
        return Prompts(self.ids.to(device), self.pooled.to(device), packed, shared, more)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class ResidualStream:
    """The residual stream of n sequences: rows (N, width), or (K, N, width).

    N is n * length, or fewer where the sequences are packed.
    """

    x: Tensor
    n: int
    packing: Packing | None = None
    ends: Tensor | None = None  # (n,) position of the pooled token; None: the first

    @property
    def length(self) -> int:
        return self.x.shape[-2] // self.n


class Tower:
    """One frozen tower. ``tower(inputs, bound)`` gives features (n, dim), not normalised."""

    def __init__(self, shape: TowerShape, weights: Mapping[str, Tensor]) -> None:
        self.shape = shape
        self.weights = {n: w for n, w in weights.items() if n.startswith(shape.name + ".")}

    def __call__(self, inputs: Tensor | Prompts, bound: BoundAdapter = FROZEN) -> Tensor:
        return self.finish(self.embed(inputs, bound), bound)

    # --- parts, so that a plan can keep what does not change ---------------------------------
    #
    # A point of a tower is a number: 0 to depth is the stream that enters this block (depth: what
    # leaves the last one), depth + 1 the features.

    def begin(
        self, inputs: Tensor | Prompts, point: int, like: BoundAdapter = FROZEN
    ) -> ResidualStream:
        """The frozen model's stream at a point, laid out as ``like`` needs it.

        At ``depth`` it holds the pooled tokens alone, unless the pool is a mean.
        """
        last = self.shape.depth - 1
        stream = self.run(self.embed(inputs, FROZEN, like), FROZEN, 0, min(point, last))
        if point <= last:
            return stream
        rows = self.pooled_rows(stream)
        return ResidualStream(self.block(last, stream, FROZEN, rows), stream.n)

    def finish(
        self, stream: ResidualStream, bound: BoundAdapter = FROZEN, point: int = 0
    ) -> Tensor:
        """Features (n, dim) from the stream at a point."""
        last = self.shape.depth - 1
        stream = self.run(stream, bound, point, last)
        rows = self.pooled_rows(stream)
        if (
            point <= last
            and rows is not None
            and can_pool_early(bound.wiring, self.shape.name, last)
        ):
            return self.head(self.block(last, stream, bound, rows), stream, bound)
        x = self.block(last, stream, bound) if point <= last else stream.x
        return self.head(self._pool(x, rows, stream, bound), stream, bound)

    def prompts(self, tokens: Tensor) -> Prompts:
        """Prompts from token ids (classes, context): where they end, and cut if that is exact."""
        s = self.shape
        if s.pool == "argmax":
            pooled = tokens.argmax(-1)
        elif s.pool == "eos":
            pooled = (tokens == s.eos).int().argmax(-1)
        else:
            pooled = torch.full((len(tokens),), 0 if s.pool == "first" else tokens.shape[1] - 1)
        if not s.cuts:
            return Prompts(tokens, pooled)
        ids = tokens[:, : int(pooled.max()) + 1].contiguous()
        return Prompts(
            ids, pooled, pack_prompts(ids, pooled, False), pack_prompts(ids, pooled, True)
        )

    def embed(
        self,
        inputs: Tensor | Prompts,
        bound: BoundAdapter = FROZEN,
        like: BoundAdapter | None = None,
    ) -> ResidualStream:
        """The sequence that enters the first block, packed as ``like`` (else ``bound``) allows.

        Images are (n, 3, height, width), with the trials in front where each has its own.
        """
        packing, ends = None, None
        if isinstance(inputs, Prompts):
            n = len(inputs)
            asked = like or bound
            packing = packing_for(inputs, asked.wiring, asked.noise is not None)
            ends = inputs.pooled
            x = self._words(inputs, bound, packing)
        else:
            n = inputs.shape[-4]
            x = self._patches(inputs, bound)
        key: Key = (self.shape.name, None, "tokens")
        return ResidualStream(bound.after(key, x, x, n), n, packing, ends)

    def run(
        self, stream: ResidualStream, bound: BoundAdapter = FROZEN, start: int = 0, stop: int = 0
    ) -> ResidualStream:
        """Blocks ``start`` to ``stop`` (excluded) over all tokens."""
        for i in range(start, stop):
            stream = replace(stream, x=self.block(i, stream, bound))
        return stream

    def pooled_rows(self, stream: ResidualStream) -> Tensor | None:
        """Which rows are pooled; None when the pool is a mean over tokens."""
        if self.shape.pool == "mean":
            return None
        if stream.packing is not None:
            return stream.packing.pooled
        starts = torch.arange(stream.n, device=stream.x.device) * stream.length
        return starts if stream.ends is None else starts + stream.ends

    def head(self, x: Tensor, stream: ResidualStream, bound: BoundAdapter = FROZEN) -> Tensor:
        """Features (n, dim) from the pooled tokens (n, width)."""
        key: Key = (self.shape.name, None, "ln_post")
        y = x if self._normed_already else self._norm(key, x, bound)
        y = bound.after((self.shape.name, None, "pooled"), x, y, stream.n)
        key = (self.shape.name, None, "project")
        weight = self._weight(key)
        return y if weight is None else bound.linear(key, y, weight, self._bias(key))

    def block(
        self,
        i: int,
        stream: ResidualStream,
        bound: BoundAdapter = FROZEN,
        rows: Tensor | None = None,
    ) -> Tensor:
        """One block: x + attn(x), then + mlp. With ``rows``, its output at those rows only."""
        tower, n = self.shape.name, stream.n
        x = bound.before((tower, i, "block"), stream.x, n)
        entered = x if rows is None else x[..., rows, :]
        seen = bound.before((tower, i, "attn"), x, n)
        y = self._attention(i, ResidualStream(seen, n, stream.packing), bound, rows)
        seen = seen if rows is None else seen[..., rows, :]
        y = self._scaled((tower, i, "ls_1"), bound.after((tower, i, "attn"), seen, y, n), bound)
        x = entered + y
        seen = bound.before((tower, i, "mlp"), x, n)
        y = self._mlp(i, seen, n, bound)
        y = self._scaled((tower, i, "ls_2"), bound.after((tower, i, "mlp"), seen, y, n), bound)
        return bound.after((tower, i, "block"), entered, x + y, n)

    # --- inside ------------------------------------------------------------------------------

    def _attention(
        self, i: int, stream: ResidualStream, bound: BoundAdapter, rows: Tensor | None
    ) -> Tensor:
        s, n, packing = self.shape, stream.n, stream.packing
        key: Key = (s.name, i, "qkv")
        h = self._site_norm((s.name, i, "ln_1"), stream.x, n, bound)
        if rows is None:
            seen = bound.before(key, h, n)
            qkv = bound.after(key, seen, bound.linear(key, seen, *self._pair(key)), n)
            qkv = qkv if packing is None else packing.pad(qkv)
            added = self._added(i, stream, bound)
            if added is None:
                y = attend_packed(qkv, n, s.heads, s.causal)
            else:
                q, k, v = qkv.split(s.width, -1)
                y = attend(q, k, v, n, s.heads, s.causal, None, added)
            y = y if packing is None else packing.strip(y)
        else:
            q = bound.linear(key, h[..., rows, :], *self._pair(key), rows=(0, s.width))
            kv = bound.linear(key, h, *self._pair(key), rows=(s.width, 3 * s.width))
            if packing is None:
                ends = rows - torch.arange(n, device=rows.device) * stream.length
            else:
                kv, ends = packing.pad(kv), packing.ends
            k, v = kv.split(s.width, -1)
            y = attend(q, k, v, n, s.heads, s.causal, ends, self._added(i, stream, bound))
        return self._site_linear((s.name, i, "out_proj"), y, n, bound)

    def _added(self, i: int, stream: ResidualStream, bound: BoundAdapter) -> Tensor | None:
        """What a method adds to the scores of attention; None for most."""
        key: Key = (self.shape.name, i, "scores")
        if bound.at(key) is None:
            return None
        zeros = stream.x.new_zeros(stream.length, stream.length)
        return bound.before(key, zeros, 1)

    def _mlp(self, i: int, x: Tensor, n: int, bound: BoundAdapter) -> Tensor:
        tower = self.shape.name
        h = self._site_norm((tower, i, "ln_2"), x, n, bound)
        h = self.shape.activation(self._site_linear((tower, i, "fc"), h, n, bound))
        return self._site_linear((tower, i, "proj"), h, n, bound)

    def _site_linear(self, key: Key, x: Tensor, n: int, bound: BoundAdapter) -> Tensor:
        x = bound.before(key, x, n)
        return bound.after(key, x, bound.linear(key, x, *self._pair(key)), n)

    def _site_norm(self, key: Key, x: Tensor, n: int, bound: BoundAdapter) -> Tensor:
        x = bound.before(key, x, n)
        return bound.after(key, x, self._norm(key, x, bound), n)

    def _norm(self, key: Key, x: Tensor, bound: BoundAdapter) -> Tensor:
        return bound.norm(key, x, self._weight(key), self._bias(key), self.shape.eps)

    def _scaled(self, key: Key, y: Tensor, bound: BoundAdapter) -> Tensor:
        gamma = self._weight(key)
        if gamma is None:
            return y
        gamma = bound.tensor(key, gamma)
        return y * (gamma.unsqueeze(-2) if gamma.dim() == 2 else gamma)

    def _words(self, prompts: Prompts, bound: BoundAdapter, packing: Packing | None) -> Tensor:
        key: Key = ("text", None, "words")
        table = bound.tensor(key, self.weights["text.words.weight"])
        n, length = prompts.ids.shape
        ids = prompts.ids.flatten() if packing is None else prompts.ids.flatten()[packing.places]
        x = F.embedding(ids, table) if table.dim() == 2 else table[:, ids]
        x = bound.after(key, x, x, n)
        if packing is None:
            return self._placed(x, n, bound, length)
        return x + self._positions(bound)[..., packing.places % length, :]

    def _patches(self, images: Tensor, bound: BoundAdapter) -> Tensor:
        n, (ph, pw) = images.shape[-4], self.shape.patch
        x = images.flatten(0, -4).unflatten(2, (-1, ph)).unflatten(4, (-1, pw))
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(0, 2)  # (n * gh * gw, 3 * ph * pw)
        if images.dim() == 5:  # (trials, n, 3, height, width)
            x = x.unflatten(0, (len(images), -1))
        x = self._site_linear(("image", None, "patches"), x, n, bound).unflatten(-2, (n, -1))
        token = bound.tensor(
            ("image", None, "class_token"), self.weights["image.class_token.weight"]
        )
        token = token[..., None, None, :]  # (..., 1, 1, width)
        if token.dim() > x.dim():
            x = x.expand(len(token), *x.shape)
        x = torch.cat((token.expand(*x.shape[:-2], 1, x.shape[-1]), x), -2).flatten(-3, -2)
        x = self._placed(x, n, bound, None)
        key = ("image", None, "ln_pre")
        return x if self._weight(key) is None else self._norm(key, x, bound)

    def _placed(self, x: Tensor, n: int, bound: BoundAdapter, length: int | None) -> Tensor:
        table = self._positions(bound)
        table = table if length is None else table[..., :length, :]
        if table.dim() == 3:
            table = table.unsqueeze(1)
        return (x.unflatten(-2, (n, -1)) + table).flatten(-3, -2)

    def _positions(self, bound: BoundAdapter) -> Tensor:
        key: Key = (self.shape.name, None, "positions")
        return bound.tensor(key, self.weights[weight_name(key, "weight")])

    def _pool(
        self, x: Tensor, rows: Tensor | None, stream: ResidualStream, bound: BoundAdapter
    ) -> Tensor:
        if rows is not None:
            return x[..., rows, :]
        if self.shape.norm_before_pool:
            x = self._norm((self.shape.name, None, "ln_post"), x, bound)
        return x.unflatten(-2, (stream.n, -1))[..., 1:, :].mean(-2)

    @property
    def _normed_already(self) -> bool:
        return self.shape.pool == "mean" and self.shape.norm_before_pool

    def _weight(self, key: Key) -> Tensor | None:
        return self.weights.get(weight_name(key, "weight"))

    def _bias(self, key: Key) -> Tensor | None:
        return self.weights.get(weight_name(key, "bias"))

    def _pair(self, key: Key) -> tuple[Tensor, Tensor | None]:
        return self.weights[weight_name(key, "weight")], self._bias(key)


def can_pool_early(wiring: Wiring, tower: str, layer: int) -> bool:
    """Whether a last block can be computed for the pooled rows alone."""
    inside = ("ln_1", "qkv", "out_proj", "attn", "ln_2", "fc", "proj", "mlp", "block")
    whole = all(wiring.rowwise((tower, layer, name)) for name in inside)
    return whole and wiring.splits((tower, layer, "qkv"))


def packing_for(prompts: Prompts, wiring: Wiring, training: bool) -> Packing | None:
    """The tightest packing that changes nothing: a function that looks at whole sequences needs
    them padded, and with dropout every prompt draws a mask for its own copy of the prefix."""
    if wiring.sees_sequences("text"):
        return None
    return prompts.packed if training and wiring.draws_in("text") else prompts.shared
