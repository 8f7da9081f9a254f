"""What a method sees of a CLIP model: towers, blocks, sites and the frozen weights to read.

Plain data. Nothing here knows open_clip, and nothing here can change the model.

A **site** is a named place where a method may act. Each block of a tower offers

========  =======================================  ========================================
site      what it is                               input x -> output y
========  =======================================  ========================================
ln_1      LayerNorm before attention               residual stream -> normed
qkv       packed projection, rows q, k, v          normed -> (..., 3 width)
scores    q k^T before the softmax (image tower)   (length, length) of zeros -> added to it
out_proj  output projection of attention           heads joined -> (..., width)
attn      the whole attention branch, ln_1 to out  residual stream -> what is added to it
ln_2      LayerNorm before the MLP                 residual stream -> normed
fc, proj  the two linear maps of the MLP           (..., width) -> (..., hidden) -> (..., width)
mlp       the whole MLP branch, ln_2 to proj       residual stream -> what is added to it
block     the whole block                          residual stream -> residual stream
========  =======================================  ========================================

and each tower ``patches`` (image) or ``words`` (text), ``tokens`` (the sequence that enters the
first block), ``pooled`` (the one normed token that stands for the input) and ``project`` (the map
to the joint space). Sites of weights alone are ``class_token``, ``positions``, ``ln_pre`` and
``ln_post`` of a tower, ``ls_1`` and ``ls_2`` (layer scale) of a block where the model has them,
and ``scale``, the log of the logit scale, which both towers share. ``q``, ``k`` and ``v`` are row
ranges of ``qkv``; ``o`` is ``out_proj``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from methods.kit.core.errors import UsageError, unknown

TOWERS = ("image", "text")
QKV = ("q", "k", "v")

Key = tuple[str, int | None, str]


@dataclass(frozen=True)
class Site:
    """A place where a method may act.

    ``shape`` is (out, in) for a linear map (of the row range, if there is one), and the shape of
    the frozen tensor itself for tables and vectors; empty where nothing frozen lives (``block``).
    """

    tower: str
    layer: int | None
    name: str
    shape: tuple[int, ...] = ()
    rows: tuple[int, int] | None = None

    @property
    def key(self) -> Key:
        """What the tower asks by: the site without its row range."""
        return (self.tower, self.layer, self.name)

    def __str__(self) -> str:
        middle = "" if self.layer is None else f".{self.layer + 1}"
        return f"{self.tower}{middle}.{self.name}"


@dataclass(frozen=True)
class Block:
    """One transformer block. ``index`` counts from 0, people count from 1."""

    tower: str
    index: int
    width: int
    heads: int
    hidden: int

    @property
    def key(self) -> str:
        """A prefix for the names of what a method owns here: ``image.0`` for the first block."""
        return f"{self.tower}.{self.index}"

    def site(self, name: str) -> Site:
        """The site of that name in this block; q, k, v and o are understood."""
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
        if self.tower == "image":  # words are packed, so no matrix of theirs fits all
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
        """The blocks that ``layers`` names (see :func:`layer_indices`), from input to output."""
        for index in layer_indices(layers, self.depth, self.name):
            yield self.block(index)


def layer_indices(layers: str, depth: int, tower: str = "tower") -> tuple[int, ...]:
    """Zero-based block numbers from ``all``, ``top:N``, ``bottom:N``, ``5-12`` or ``1,3,9-12``.

    Numbers count from 1, as papers do. Raises UsageError for numbers the tower does not have and
    for ranges that count down.
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

    ``weights`` maps ``image.0.qkv.weight`` and the like to the frozen tensors; linear weights are
    (out, in), so that y = W x. They are read-only by agreement and checked to be by the tests.
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

    def site(self, tower: str, name: str) -> Site:
        """A site of a whole tower: words, patches, tokens, pooled, project, positions, ..."""
        for part in ("weight", "bias"):
            frozen = self.weights.get(f"{tower}.{name}.{part}")
            if frozen is not None:
                return Site(tower, None, name, tuple(frozen.shape))
        return Site(tower, None, name)

    def weight(self, site: Site) -> Tensor:
        """The frozen weight at a site (its row range, if it has one)."""
        return self._part(site, "weight")

    def bias(self, site: Site) -> Tensor:
        """The frozen bias at a site (its row range, if it has one)."""
        return self._part(site, "bias")

    def _part(self, site: Site, part: str) -> Tensor:
        whole = self.weights[weight_name(site.key, part)]
        return whole if site.rows is None else whole[slice(*site.rows)]

    def sites(self) -> Iterator[tuple[Site, str]]:
        """Every frozen tensor of the model as (site, 'weight' or 'bias'), in a fixed order."""
        for name in self.weights:
            tower, *middle, part = name.split(".")
            if len(middle) == 2:
                yield getattr(self, tower).block(int(middle[0])).site(middle[1]), part
            else:
                yield self.site(tower, middle[0]), part


def weight_name(key: Key, part: str) -> str:
    """``image.0.qkv.weight`` for the key ('image', 0, 'qkv') and the part 'weight'."""
    return ".".join(str(piece) for piece in (*key, part) if piece is not None)
