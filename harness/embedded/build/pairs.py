"""The packed corpus as arrays, and batches of pairs that depend on (seed, step) alone."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from scipy.ndimage import binary_fill_holes
from torch import Tensor

from harness.embedded.build.corpus_files import SIZE
from harness.embedded.build.sources import (
    COLOUR_WEIGHT,
    DIRECTED,
    SYNONYMS,
    WEIGHTS,
    WORN,
    WORN_WEIGHT,
)
from harness.model.tokenizer import Tokenizer
from methods.kit.core.errors import UsageError

# How a caption is dressed; alone as often as in a sentence.
TEMPLATES = (
    *["{}"] * 8,
    *["an icon of a {}."] * 2,
    *["an emoji of a {}."] * 2,
    "a {} icon.",
    "a picture of a {}.",
    "a photo of a {}.",
    "a drawing of a {}.",
    "clip art of a {}.",
    "a pictogram of a {}.",
    "a symbol for {}.",
    "the {} sign.",
    "this is a {}.",
)
LONGEST_TEXT = 24  # tokens, both ends included
LONGEST_CAPTION = 10  # tokens
OTHER_NAME = 0.4  # how often a drawing with other names is called by one of them
CLOSED = 80  # ink of a line that encloses, of 255
RARE = 8  # words of fewer drawings are not predicted by the auxiliary head


@dataclass(frozen=True)
class Corpus:
    """``mono`` (n, 48, 48) ink, ``inside`` (n, 48, 48) what its lines enclose, ``colour``
    (m, 48, 48, 4); the rest has n + m rows, mono first.
    """

    mono: Tensor
    inside: Tensor
    colour: Tensor
    captions: tuple[tuple[str, ...], ...]  # main name first
    weights: np.ndarray
    mirrors: np.ndarray  # whether the drawing means the same in the mirror

    def __len__(self) -> int:
        return len(self.captions)


def load(folder: Path) -> Corpus:
    """The corpus in a folder. Raises UsageError when its files are missing."""
    try:
        mono = pq.read_table(folder / "mono.parquet")
        colour = pq.read_table(folder / "color.parquet")
    except FileNotFoundError as error:
        raise UsageError(f"{error.filename or folder}: no corpus here; build it first") from None
    raw = np.frombuffer(b"".join(mono["mask"].to_pylist()), np.uint8).reshape(len(mono), -1)
    ink = np.empty((len(mono), SIZE * SIZE), np.uint8)
    ink[:, 0::2], ink[:, 1::2] = (raw >> 4) * 17, (raw & 15) * 17
    drawn = ink.reshape(-1, SIZE, SIZE)
    files = [Image.open(io.BytesIO(b)) for b in colour["image"].to_pylist()]
    art = [np.asarray(file.convert("RGBA")) for file in files]

    def column(name: str) -> list[str]:
        return [*mono[name].to_pylist(), *colour[name].to_pylist()]

    captions = tuple(
        (text, *(a for a in alt.split("|") if a), *_synonyms(text))
        for text, alt in zip(column("caption"), column("alt"), strict=True)
    )
    weights = np.array([WEIGHTS.get(p, 1.0) for p in column("prefix")])
    weights[len(mono) :] *= COLOUR_WEIGHT
    weights[[_worn(names[0]) for names in captions]] *= WORN_WEIGHT
    return Corpus(
        mono=torch.from_numpy(drawn),
        inside=torch.from_numpy(_enclosed(drawn)),
        colour=torch.from_numpy(np.stack(art) if art else np.zeros((0, SIZE, SIZE, 4), np.uint8)),
        captions=captions,
        weights=weights / weights.sum(),
        mirrors=np.array([_mirrors(c[0]) for c in captions]),
    )


def _synonyms(caption: str) -> list[str]:
    """The caption with its last words said in other words."""
    for words, others in SYNONYMS.items():
        if caption == words or caption.endswith(f" {words}"):
            return [caption.removesuffix(words) + other for other in others]
    return []


def _worn(caption: str) -> bool:
    """Whether a caption names something worn."""
    return caption.split()[-1] in WORN


def _enclosed(ink: np.ndarray) -> np.ndarray:
    """What is neither ink nor connected with the edge of the picture: (n, s, s) uint8."""
    inside = np.zeros_like(ink)
    for drawing, hole in zip(ink, inside, strict=True):
        hole[binary_fill_holes(drawing > CLOSED)] = 255
    return inside - np.minimum(inside, ink)


def _mirrors(caption: str) -> bool:
    words = caption.split()
    return not (DIRECTED & set(words) or any(len(w) == 1 for w in words))


@dataclass(frozen=True)
class Batch:
    """Rows of the corpus with their texts. ``caption`` says which pairs share their main name."""

    mono: Tensor  # (k,) rows of Corpus.mono
    colour: Tensor  # (b - k,) rows of Corpus.colour
    mirrors: Tensor  # (b,) bool
    tokens: Tensor  # (b, context)
    caption: Tensor  # (b,) number of the main caption
    words: Tensor  # (b, LONGEST_CAPTION) numbers of its frequent words, -1 elsewhere


class Sampler:
    """Draws batches: batch ``step`` of a seed is the same on every machine and after a restart."""

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, context: int, seed: int) -> None:
        self.corpus, self.context, self.seed = corpus, context, seed
        self._bounds = np.cumsum(corpus.weights)
        texts = sorted({text for names in corpus.captions for text in names})
        place = {text: i for i, text in enumerate(texts)}
        encoded = tokenizer(list(texts))
        self._first, self._end = encoded[0][0], encoded[0][-1]
        self._tokens = [row[1:-1][:LONGEST_CAPTION] for row in encoded]
        self._names = [[place[text] for text in names] for names in corpus.captions]
        self._main = np.array([names[0] for names in self._names])
        dressed = tokenizer([part for t in TEMPLATES for part in t.split("{}")])
        bare = [row[1:-1] for row in dressed]
        self._templates = list(zip(bare[0::2], bare[1::2], strict=True))
        self._words = self._frequent_words()

    @property
    def vocabulary(self) -> int:
        """How many words the auxiliary head tells apart."""
        return int(self._words.max()) + 1

    def batch(self, step: int, size: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        rows = np.sort(np.searchsorted(self._bounds, rng.random(size)))
        rows = rows.clip(0, len(self.corpus) - 1)
        monos = len(self.corpus.mono)
        split = int((rows < monos).sum())
        main = self._main[rows]
        return Batch(
            mono=torch.from_numpy(rows[:split]),
            colour=torch.from_numpy(rows[split:] - monos),
            mirrors=torch.from_numpy(self.corpus.mirrors[rows]),
            tokens=self._texts(rows, rng),
            caption=torch.from_numpy(main),
            words=torch.from_numpy(self._words[main]),
        )

    def _texts(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Tokens of each row's caption in a template, padded with zeros."""
        tokens = np.zeros((len(rows), self.context), np.int64)
        other, which = rng.random(len(rows)), rng.random(len(rows))
        template = rng.integers(len(self._templates), size=len(rows))
        for i, row in enumerate(rows):
            names = self._names[row]
            name = names[0]
            if len(names) > 1 and other[i] < OTHER_NAME:
                name = names[1 + int(which[i] * (len(names) - 1))]
            before, after = self._templates[template[i]]
            text = [self._first, *before, *self._tokens[name], *after]
            text = [*text[: min(LONGEST_TEXT, self.context) - 1], self._end]
            tokens[i, : len(text)] = text
        return torch.from_numpy(tokens)

    def _frequent_words(self) -> np.ndarray:
        """(captions, LONGEST_CAPTION): the words of each caption that many drawings share."""
        table = np.full((len(self._tokens), LONGEST_CAPTION), -1)
        for row, tokens in zip(table, self._tokens, strict=True):
            row[: len(tokens)] = tokens
        used = table[self._main]
        found, counts = np.unique(used[used >= 0], return_counts=True)
        frequent = found[counts >= min(RARE, counts.max())]
        places = np.searchsorted(frequent, table).clip(0, len(frequent) - 1)
        return np.where(frequent[places] == table, places, -1)
