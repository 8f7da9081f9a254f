"""What a method sees of a CLIP model: towers, blocks, sites and frozen weights, as plain data.

A **site** is a named place where a method may act. Each block of a tower has

========  =======================================  ========================================
site      place                                    input x -> output y
========  =======================================  ========================================
ln_1      LayerNorm before attention               residual stream -> normed
qkv       packed projection, rows q, k, v          normed -> (..., 3 width)
scores    q k^T before the softmax (image tower)   (length, length) of zeros -> added to it
out_proj  output projection of attention           heads joined -> (..., width)
attn      the whole attention branch, ln_1 to out  residual stream -> its update
ln_2      LayerNorm before the MLP                 residual stream -> normed
fc, proj  the two linear maps of the MLP           (..., width) -> (..., hidden) -> (..., width)
mlp       the whole MLP branch, ln_2 to proj       residual stream -> its update
block     the whole block                          residual stream -> residual stream
========  =======================================  ========================================

Each tower has ``patches`` (image) or ``words`` (text), ``tokens`` (the input of the first block),
``pooled`` (the normalized token that represents the input) and ``project`` (the map to the joint
space). Sites with weights only are ``class_token``, ``positions``, ``ln_pre`` and ``ln_post`` of a
tower, ``ls_1`` and ``ls_2`` (layer scale) of a block where the model has them, and ``scale``, the
log of the logit scale, which both towers share. ``q``, ``k`` and ``v`` are row ranges of ``qkv``;
``o`` is ``out_proj``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from methods.kit.core.errors import UsageError, unknown

TOWERS = ("image", "text")
QKV = ("q", "k", "v")

Key = tuple[str, int | None, str]


@dataclass(frozen=True)
class Site:
    """A place where a method may act.

    ``shape`` is (out, in) for a linear map (of its row range, if any), and that of the frozen
    tensor for tables and vectors; empty where there is none (``block``).
    """

    tower: str
    layer: int | None
    name: str
    shape: tuple[int, ...] = ()
    rows: tuple[int, int] | None = None

    @property
    def key(self) -> Key:
        """The site without its row range, as a tower addresses it."""
        return (self.tower, self.layer, self.name)

    def __str__(self) -> str:
        middle = "" if self.layer is None else f".{self.layer + 1}"
        return f"{self.tower}{middle}.{self.name}"


@dataclass(frozen=True)
class Block:
    """One transformer block; ``index`` counts from 0, settings and labels from 1."""

    tower: str
    index: int
    width: int
    heads: int
    hidden: int

    @property
    def key(self) -> str:
        """A prefix for names of tensors in this block: ``image.0`` for the first block."""
        return f"{self.tower}.{self.index}"

    def site(self, name: str) -> Site:
        """Return the site of that name in this block, also q, k, v and o."""
        d, h = self.width, self.hidden
        if name in QKV:
            start = QKV.index(name) * d
            return Site(self.tower, self.index, "qkv", (d, d), (start, start + d))
        name = "out_proj" if name == "o" else name
        shapes = {
            "ln_1": (d,),
            "qkv": (3 * d, d),
            "out_proj": (d, d),
            "attn": (),
            "ls_1": (d,),
            "ln_2": (d,),
            "fc": (h, d),
            "proj": (d, h),
            "mlp": (),
            "ls_2": (d,),
            "block": (),
        }
        if self.tower == "image":  # texts are packed, so one matrix does not fit all
            shapes["scores"] = ()
        if name not in shapes:
            raise unknown(f"site {name!r}", name, (*shapes, *QKV, "o"))
        return Site(self.tower, self.index, name, shapes[name])


@dataclass(frozen=True)
class Tower:
    """One tower: ``length`` is its number of tokens (image: patches and class token)."""

    name: str
    depth: int
    width: int
    heads: int
    hidden: int
    length: int

    def block(self, index: int) -> Block:
        return Block(self.name, index, self.width, self.heads, self.hidden)

    def blocks(self, layers: str = "all") -> Iterator[Block]:
        """Yield the blocks of ``layers`` (see :func:`layer_indices`), from input to output."""
        for index in layer_indices(layers, self.depth, self.name):
            yield self.block(index)


def layer_indices(layers: str, depth: int, tower: str = "tower") -> tuple[int, ...]:
    """Return zero-based indices from ``all``, ``top:N``, ``bottom:N``, ``5-12`` or ``1,3,9-12``.

    Numbers count from 1, as in papers. Raises UsageError for numbers that the tower does not have
    and for ranges that count down.
    """
    text = layers.strip().lower()
    if text == "all":
        return tuple(range(depth))
    try:
        if text.startswith(("top:", "bottom:")):
            end, _, count = text.partition(":")
            n = int(count)
            if not 1 <= n <= depth:
                raise UsageError(
                    f"method.layers: {layers!r} asks for {n} blocks, the {tower} tower has {depth}"
                )
            return tuple(range(depth))[-n:] if end == "top" else tuple(range(n))
        chosen: set[int] = set()
        for part in text.split(","):
            first, dash, last = part.partition("-")
            low, high = int(first), int(last if dash else first)
            if not 1 <= low <= high <= depth:
                raise UsageError(
                    f"method.layers: {part.strip()!r} is not within 1-{depth}, the blocks of the"
                    f" {tower} tower ('top:N' and 'bottom:N' fit towers of any depth)"
                )
            chosen.update(range(low - 1, high))
    except UsageError:
        raise
    except ValueError:
        raise UsageError(
            f"method.layers: expected 'all', 'top:4', 'bottom:4', '5-12' or '1,3', got {layers!r}"
        ) from None
    return tuple(sorted(chosen))


@dataclass(frozen=True)
class Clip:
    """A CLIP model as a method sees it.

    ``weights`` maps names as ``image.0.qkv.weight`` to the frozen tensors; linear weights are
    (out, in), so that y = W x. They must not be written to; the conformance tests check this.
    """

    image: Tower
    text: Tower
    dim: int
    weights: Mapping[str, Tensor] = field(repr=False)

    def towers(self, names: Iterable[str] = TOWERS) -> Iterator[Tower]:
        chosen = tuple(names)
        if not chosen:
            raise UsageError("method.towers: name at least one of image, text")
        yield from (getattr(self, name) for name in TOWERS if name in chosen)

    def blocks(self, towers: Iterable[str] = TOWERS, layers: str = "all") -> Iterator[Block]:
        for tower in self.towers(towers):
            yield from tower.blocks(layers)

    def linear_sites(
        self, towers: Iterable[str], layers: str, names: Sequence[str]
    ) -> Iterator[tuple[str, Site]]:
        """Yield the named linear maps of blocks, each with a name as ``image.0.q``."""
        if not names:
            raise UsageError("method.sites: name at least one of q, k, v, o, fc, proj")
        for block in self.blocks(towers, layers):
            yield from ((f"{block.key}.{name}", block.site(name)) for name in names)

    def site(self, tower: str, name: str) -> Site:
        """Return a site of a whole tower: words, patches, tokens, pooled, project, ..."""
        for part in ("weight", "bias"):
            frozen = self.weights.get(f"{tower}.{name}.{part}")
            if frozen is not None:
                return Site(tower, None, name, tuple(frozen.shape))
        return Site(tower, None, name)

    def weight(self, site: Site) -> Tensor:
        """Return the frozen weight at a site (of its row range, if any)."""
        return self._part(site, "weight")

    def bias(self, site: Site) -> Tensor:
        """Return the frozen bias at a site (of its row range, if any)."""
        return self._part(site, "bias")

    def _part(self, site: Site, part: str) -> Tensor:
        whole = self.weights[weight_name(site.key, part)]
        return whole if site.rows is None else whole[slice(*site.rows)]

    def sites(self) -> Iterator[tuple[Site, str]]:
        """Yield every frozen tensor as (site, 'weight' or 'bias'), in a fixed order."""
        for name in self.weights:
            tower, *middle, part = name.split(".")
            if len(middle) == 2:
                yield getattr(self, tower).block(int(middle[0])).site(middle[1]), part
            else:
                yield self.site(tower, middle[0]), part


def weight_name(key: Key, part: str) -> str:
    """Return ``image.0.qkv.weight`` for the key ('image', 0, 'qkv') and the part 'weight'."""
    return ".".join(str(piece) for piece in (*key, part) if piece is not None)
