"""Forward pass of a CLIP tower over frozen weights, with sites where methods act.

It equals open_clip's encoders to 1e-5 in fp32 (tests/harness/model/test_tower.py) and is faster:
frozen products run on flat rows, q, k and v are one product, text is packed without padding, and
the last block computes only the pooled token. The weights are read, never written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.model.attention import attend, attend_packed
from harness.model.prompt_packing import Packing, Prompts, pack_tokens, packing_for
from harness.model.tower_shape import TowerShape
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.binding.wiring import Wiring
from methods.kit.core.clip import Key, weight_name

FROZEN = BoundAdapter(Wiring(), {})


@dataclass(frozen=True)
class Sequences:
    """The residual stream of n sequences: rows (N, width), or (K, N, width) with K trials.

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
    """One frozen tower. ``tower(inputs, bound)`` gives features (n, dim), not normalised.

    A point of a tower is a number: 0 to depth is the residual stream that enters this block (depth:
    that leaves the last one), depth + 1 the features.
    """

    def __init__(self, shape: TowerShape, weights: Mapping[str, Tensor]) -> None:
        self.shape = shape
        self.weights = {n: w for n, w in weights.items() if n.startswith(shape.name + ".")}

    def __call__(self, inputs: Tensor | Prompts, bound: BoundAdapter = FROZEN) -> Tensor:
        return self.finish(self.embed(inputs, bound), bound)

    def begin(self, inputs: Tensor | Prompts, point: int, like: BoundAdapter = FROZEN) -> Sequences:
        """Return the frozen model's stream at a point, laid out as ``like`` needs it.

        At ``depth`` it holds the pooled tokens alone, unless the pool is a mean.
        """
        last = self.shape.depth - 1
        stream = self.run(self.embed(inputs, FROZEN, like), FROZEN, 0, min(point, last))
        if point <= last:
            return stream
        return Sequences(self.block(last, stream, FROZEN, self.pooled_rows(stream)), stream.n)

    def finish(self, stream: Sequences, bound: BoundAdapter = FROZEN, point: int = 0) -> Tensor:
        """Return features (n, dim) from the stream at a point."""
        name, last = self.shape.name, self.shape.depth - 1
        stream = self.run(stream, bound, point, last)
        rows = self.pooled_rows(stream)
        if point > last:
            return self.head(self._pool(stream.x, rows, stream, bound), stream, bound)
        if rows is not None and can_pool_early(bound.wiring, name, last):
            return self.head(self.block(last, stream, bound, rows), stream, bound)
        x = self.block(last, stream, bound)
        return self.head(self._pool(x, rows, stream, bound), stream, bound)

    def prompts(self, tokens: Tensor) -> Prompts:
        """Return prompts for token ids (classes, context)."""
        return pack_tokens(tokens, self.shape)

    def embed(
        self,
        inputs: Tensor | Prompts,
        bound: BoundAdapter = FROZEN,
        like: BoundAdapter | None = None,
    ) -> Sequences:
        """Return the stream that enters the first block, packed as ``like`` (or ``bound``) allows.

        Images are (n, 3, height, width), with a leading trial axis where trials have their own.
        """
        packing, ends = None, None
        if isinstance(inputs, Prompts):
            layout = like or bound
            packing = packing_for(inputs, layout.wiring, layout.noise is not None)
            n, ends, x = len(inputs), inputs.pooled, self._words(inputs, bound, packing)
        else:
            n, x = inputs.shape[-4], self._patches(inputs, bound)
        key: Key = (self.shape.name, None, "tokens")
        return Sequences(bound.after(key, x, x, n), n, packing, ends)

    def run(self, stream: Sequences, bound: BoundAdapter, start: int, stop: int) -> Sequences:
        """Run blocks ``start`` to ``stop`` (excluded) over all tokens."""
        for i in range(start, stop):
            stream = replace(stream, x=self.block(i, stream, bound))
        return stream

    def pooled_rows(self, stream: Sequences) -> Tensor | None:
        """Return the rows that are pooled; None if the pool is a mean over tokens."""
        if self.shape.pool == "mean":
            return None
        if stream.packing is not None:
            return stream.packing.pooled
        starts = torch.arange(stream.n, device=stream.x.device) * stream.length
        return starts if stream.ends is None else starts + stream.ends

    def head(self, x: Tensor, stream: Sequences, bound: BoundAdapter = FROZEN) -> Tensor:
        """Return features (n, dim) from the pooled tokens (n, width)."""
        name = self.shape.name
        normed = self.shape.pool == "mean" and self.shape.norm_before_pool
        y = x if normed else self._norm((name, None, "ln_post"), x, bound)
        y = bound.after((name, None, "pooled"), x, y, stream.n)
        key: Key = (name, None, "project")
        weight = self._weight(key)
        return y if weight is None else bound.linear(key, y, weight, self._bias(key))

    def block(
        self, i: int, stream: Sequences, bound: BoundAdapter = FROZEN, rows: Tensor | None = None
    ) -> Tensor:
        """Run one block: x + attn(x), then + mlp. With ``rows``, return those rows only."""
        tower, n = self.shape.name, stream.n
        x = bound.before((tower, i, "block"), stream.x, n)
        entered = x if rows is None else x[..., rows, :]
        seen = bound.before((tower, i, "attn"), x, n)
        y = self._attention(i, replace(stream, x=seen), bound, rows)
        seen = seen if rows is None else seen[..., rows, :]
        y = self._scaled((tower, i, "ls_1"), bound.after((tower, i, "attn"), seen, y, n), bound)
        x = entered + y
        seen = bound.before((tower, i, "mlp"), x, n)
        y = self._mlp(i, seen, n, bound)
        y = self._scaled((tower, i, "ls_2"), bound.after((tower, i, "mlp"), seen, y, n), bound)
        return bound.after((tower, i, "block"), entered, x + y, n)

    def _attention(
        self, i: int, stream: Sequences, bound: BoundAdapter, rows: Tensor | None
    ) -> Tensor:
        s, n, packing = self.shape, stream.n, stream.packing
        key: Key = (s.name, i, "qkv")
        h = self._site_norm((s.name, i, "ln_1"), stream.x, n, bound)
        bias = self._score_bias(i, stream, bound)
        if rows is None:
            qkv = self._site_linear(key, h, n, bound)
            qkv = qkv if packing is None else packing.pad(qkv)
            if bias is None:
                y = attend_packed(qkv, n, s.heads, s.causal)
            else:
                q, k, v = qkv.split(s.width, -1)
                y = attend(q, k, v, n, s.heads, s.causal, None, bias)
            y = y if packing is None else packing.strip(y)
        else:
            q = bound.linear(key, h[..., rows, :], *self._parameters(key), rows=(0, s.width))
            kv = bound.linear(key, h, *self._parameters(key), rows=(s.width, 3 * s.width))
            if packing is None:
                ends = rows - torch.arange(n, device=rows.device) * stream.length
            else:
                kv, ends = packing.pad(kv), packing.ends
            k, v = kv.split(s.width, -1)
            y = attend(q, k, v, n, s.heads, s.causal, ends, bias)
        return self._site_linear((s.name, i, "out_proj"), y, n, bound)

    def _score_bias(self, i: int, stream: Sequences, bound: BoundAdapter) -> Tensor | None:
        """What a method adds to the attention scores; None for most."""
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
        return bound.after(key, x, bound.linear(key, x, *self._parameters(key)), n)

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
            return self._add_positions(x, n, bound, length)
        return x + self._positions(bound)[..., packing.places % length, :]

    def _patches(self, images: Tensor, bound: BoundAdapter) -> Tensor:
        n, (ph, pw) = images.shape[-4], self.shape.patch
        x = images.flatten(0, -4).unflatten(2, (-1, ph)).unflatten(4, (-1, pw))
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(0, 2)  # (n * gh * gw, 3 * ph * pw)
        if images.dim() == 5:  # (trials, n, 3, height, width)
            x = x.unflatten(0, (len(images), -1))
        x = self._site_linear(("image", None, "patches"), x, n, bound).unflatten(-2, (n, -1))
        key: Key = ("image", None, "class_token")
        token = bound.tensor(key, self.weights["image.class_token.weight"])
        token = token[..., None, None, :]  # (..., 1, 1, width)
        if token.dim() > x.dim():
            x = x.expand(len(token), *x.shape)
        x = torch.cat((token.expand(*x.shape[:-2], 1, x.shape[-1]), x), -2).flatten(-3, -2)
        x = self._add_positions(x, n, bound, self.shape.length)
        key = ("image", None, "ln_pre")
        return x if self._weight(key) is None else self._norm(key, x, bound)

    def _add_positions(self, x: Tensor, n: int, bound: BoundAdapter, length: int) -> Tensor:
        table = self._positions(bound)[..., :length, :]
        if table.dim() == 3:
            table = table.unsqueeze(1)
        return (x.unflatten(-2, (n, -1)) + table).flatten(-3, -2)

    def _positions(self, bound: BoundAdapter) -> Tensor:
        key: Key = (self.shape.name, None, "positions")
        return bound.tensor(key, self.weights[weight_name(key, "weight")])

    def _pool(
        self, x: Tensor, rows: Tensor | None, stream: Sequences, bound: BoundAdapter
    ) -> Tensor:
        if rows is not None:
            return x[..., rows, :]
        if self.shape.norm_before_pool:
            x = self._norm((self.shape.name, None, "ln_post"), x, bound)
        return x.unflatten(-2, (stream.n, -1))[..., 1:, :].mean(-2)

    def _weight(self, key: Key) -> Tensor | None:
        return self.weights.get(weight_name(key, "weight"))

    def _bias(self, key: Key) -> Tensor | None:
        return self.weights.get(weight_name(key, "bias"))

    def _parameters(self, key: Key) -> tuple[Tensor, Tensor | None]:
        return self.weights[weight_name(key, "weight")], self._bias(key)


def can_pool_early(wiring: Wiring, tower: str, layer: int) -> bool:
    """Return whether a last block can be computed for the pooled rows alone."""
    inside = ("ln_1", "qkv", "out_proj", "attn", "ln_2", "fc", "proj", "mlp", "block")
    rowwise = all(wiring.rowwise((tower, layer, name)) for name in inside)
    return rowwise and wiring.splits((tower, layer, "qkv"))
