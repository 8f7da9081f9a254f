"""The tasks of the embedded suite: one Parquet file each, their table, and their notice.

Drawings become RGB at 64 x 64. What is random (colours of monochrome icons, which drawings of a set
are taken) depends on the drawing's name alone.
"""

import gzip
import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from harness.embedded.build import classes, names
from harness.embedded.build.icons import Iconify, IconSet, ink, notice, on_background, png
from harness.embedded.build.sources import CONCEPTS, EMOJI, FLAGS, PACKAGE
from methods.kit.errors import UsageError

SIZE, DRAWN = 64, 55  # pixels of a picture, and of the drawing in it
WHITE = (255, 255, 255)
FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist

# Vendors whose sets repeat each other's drawings give one drawing a concept, others two.
ONE_EACH = frozenset(
    """famicons fa6-solid fa6-regular fa-solid fa-regular heroicons-outline heroicons-solid
    bx bxs""".split()
)
FEWEST_EMOJI = 3
FEWEST_CONCEPT = {"train": 8, "test": 16}
MOST_CONCEPT = {"train": 16, "test": 30}


@dataclass
class Rows:
    """A task as it is drawn: pictures without doubles, each with its class, vendor and split."""

    name: str
    classes: list[str]
    template: str
    note: str
    shots: int
    val_shots: int
    rows: list[tuple[bytes, int, str, str]] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)

    def add(self, pixels: np.ndarray | None, label: int, domain: str, split: str) -> bool:
        """Add a picture; False when there is none or it is there already."""
        if pixels is None:
            return False
        look = hashlib.sha256(pixels.tobytes()).digest()
        if look in self._seen:
            return False
        self._seen.add(look)
        self.rows.append((png(pixels), label, domain, split))
        return True

    def counts(self, split: str) -> list[int]:
        """Pictures of each class."""
        found = Counter(label for _, label, _, part in self.rows if part == split)
        return [found[i] for i in range(len(self.classes))]

    def drop_small(self, fewest: int) -> None:
        """Drop the classes with fewer pictures in either split."""
        pairs = enumerate(zip(self.counts("train"), self.counts("test"), strict=True))
        kept = [label for label, both in pairs if min(both) >= fewest]
        place = {label: i for i, label in enumerate(kept)}
        self.classes = [self.classes[label] for label in kept]
        self.rows = [(p, place[i], d, s) for p, i, d, s in self.rows if i in place]

    def domains(self, split: str) -> list[str]:
        return sorted({domain for _, _, domain, part in self.rows if part == split})

    def about(self) -> dict[str, Any]:
        """What tasks.json says of the task."""
        train, test = self.counts("train"), self.counts("test")
        return {
            "file": f"{self.name}.parquet",
            "note": self.note,
            "template": self.template,
            "shots": self.shots,
            "val_shots": self.val_shots,
            "classes": len(self.classes),
            "train": sum(train),
            "test": sum(test),
            "train_per_class": [min(train), max(train)],
            "test_per_class": [min(test), max(test)],
            "domains": {split: self.domains(split) for split in ("train", "test")},
            "classnames": self.classes,
        }

    def write(self, folder: Path) -> None:
        pictures, labels, domains, splits = zip(*self.rows, strict=True)
        table = pa.table(
            {
                "image": pa.array(pictures, pa.binary()),
                "label": pa.array(labels, pa.int32()),
                "classname": pa.array([self.classes[label] for label in labels]),
                "domain": pa.array(domains),
                "split": pa.array(splits),
            }
        )
        path = folder / f"{self.name}.parquet"
        pq.write_table(table, path, compression="zstd", compression_level=12)


def build(icons: Iconify, out: Path, only: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Write the tasks into a folder, with tasks.json and NOTICE.md. Raises UsageError."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "tasks.json"
    table: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    for name, make in TASKS.items():
        if not only or name in only:
            rows = make(icons)
            rows.write(out)
            table[name] = rows.about()
    table = {name: table[name] for name in TASKS if name in table}
    path.write_text(json.dumps(table, indent=1) + "\n")
    (out / "NOTICE.md").write_text(_notice(icons, table))
    return table


# --- drawn tasks -----------------------------------------------------------------------------


def icon_concepts(icons: Iconify) -> Rows:
    """Concepts that many sets draw: whole sets are on one side of train and test."""
    pools = {split: _concept_pool(icons, split) for split in CONCEPTS}
    enough = [
        concept
        for concept in sorted(classes.concepts())
        if all(len(pools[s][concept]) >= FEWEST_CONCEPT[s] for s in pools)
    ]
    rows = Rows(
        "icon-concepts",
        enough,
        "an icon of a {}.",
        "Everyday concepts drawn by many icon sets; train and test come from different sets.",
        shots=4,
        val_shots=4,
    )
    for split, pool in pools.items():
        for label, concept in enumerate(enough):
            items = sorted(pool[concept], key=lambda i: (i[0], _random(*i[1:]).random()))
            taken = 0
            for _, prefix, name in items:
                picture = _paint(icons, prefix, name)
                if taken < MOST_CONCEPT[split] and rows.add(picture, label, prefix, split):
                    taken += 1
    return rows


def _concept_pool(icons: Iconify, split: str) -> dict[str, list[tuple[int, str, str]]]:
    """Concept to (how many of this style its set gave before, set, name)."""
    meant = {name: concept for concept, known in classes.concepts().items() for name in known}
    pool: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for prefix in (p for p in CONCEPTS[split] if icons.has(p)):
        if not icons.allowed(prefix):
            raise UsageError(f"icon set {prefix!r}: its licence is not one that may be shipped")
        icon_set = icons.set(prefix)
        for concept, items in _concepts_of(icon_set, meant).items():
            _random(prefix, concept).shuffle(items)
            used: Counter[str] = Counter()
            for kind, name in items:
                used[kind] += 1
                if used[kind] <= (1 if prefix in ONE_EACH else 2):
                    pool[concept].append((used[kind], prefix, name))
    return pool


def _concepts_of(icon_set: IconSet, meant: dict[str, str]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in sorted(icon_set.names):
        words, style = names.split(icon_set.prefix, name, icon_set.names, icon_set.suffixes)
        concept = meant.get("-".join(words))
        if concept:
            found[concept].append((names.kind(style), name))
    return found


def emoji_things(icons: Iconify) -> Rows:
    """Emoji that every vendor draws: whole vendors are on one side of train and test."""
    known = classes.emoji()
    drawn = {p: icons.set(p).drawn for side in EMOJI.values() for p in side if icons.has(p)}

    def everywhere(concept: str) -> bool:
        return all(any(name in have for name in known[concept]) for have in drawn.values())

    rows = Rows(
        "emoji-things",
        sorted(c for c in known if everywhere(c)),
        "an emoji of a {}.",
        "Emoji of animals, food and objects; train and test come from different vendors.",
        shots=2,
        val_shots=1,
    )
    for split, vendors in EMOJI.items():
        for label, concept in enumerate(rows.classes):
            for prefix in (v for v in vendors if v in drawn):
                for name in (n for n in known[concept] if n in drawn[prefix]):
                    rows.add(_paint(icons, prefix, name), label, prefix, split)
    rows.drop_small(FEWEST_EMOJI)
    return rows


def flags(icons: Iconify) -> Rows:
    """Country flags: circles, squares and waving in train; plain, 4x3 and rounded in test."""
    countries = classes.countries()
    rows = Rows(
        "flags",
        sorted(countries.values()),
        "the flag of {}.",
        "Country flags by vendor: round, square and waving ones train, rectangles test.",
        shots=2,
        val_shots=1,
    )
    label = {country: i for i, country in enumerate(rows.classes)}
    for code, country in sorted(countries.items()):
        for split, vendors in FLAGS.items():
            for prefix in (v for v in vendors if icons.has(v)):
                drawn = icons.set(prefix).drawn
                known = _flag_names(prefix, split, code, country)
                name = next((n for n in known if n in drawn), "")
                picture = _paint(icons, prefix, name) if name else None
                domain = f"{prefix}-4x3" if name.endswith("4x3") else prefix
                rows.add(picture, label[country], domain, split)
    rows.drop_small(1)
    return rows


def _flag_names(prefix: str, split: str, code: str, country: str) -> list[str]:
    slug = country.lower().replace(" ", "-")
    if prefix == "flag":
        return [f"{code}-1x1" if split == "train" else f"{code}-4x3"]
    if prefix in ("circle-flags", "cif"):
        return [code]
    return [f"flag-{slug}", f"flag-for-{slug}", f"flag-for-flag-{slug}"]


def _paint(icons: Iconify, prefix: str, name: str) -> np.ndarray | None:
    """A drawing as RGB; monochrome icons get one of a few colourings."""
    rgba = icons.set(prefix).render(name, DRAWN)
    if rgba is None:
        return None
    full = np.zeros((SIZE, SIZE, 4), np.uint8)
    edge = (SIZE - DRAWN) // 2
    full[edge : edge + DRAWN, edge : edge + DRAWN] = rgba
    if icons.coloured(prefix):
        return on_background(full, WHITE)
    rng = _random(prefix, name)
    front, back = _colouring(rng)
    share = ink(full)[..., None] / 255.0
    return np.clip(back + (front - back) * share + 0.5, 0, 255).astype(np.uint8)


def _colouring(rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """(ink, background): half black on white, else dark on white, white on dark, white on black."""
    how = rng.random()

    def dark(most: int) -> np.ndarray:
        return np.array([rng.uniform(0, most) for _ in range(3)])

    if how < 0.5:
        return np.zeros(3), np.full(3, 255.0)
    if how < 0.8:
        return dark(150), np.full(3, 255.0)
    return np.full(3, 255.0), dark(130) if how < 0.9 else np.zeros(3)


def _random(*key: str) -> random.Random:
    return random.Random("/".join(key))


# --- photographed and written tasks ----------------------------------------------------------


def fashion(icons: Iconify) -> Rows:
    """Fashion-MNIST, a subset with the same number of pictures of every class."""
    if not FASHION.is_dir():
        raise UsageError(f"{FASHION}: not there; install Debian's package dataset-fashion-mnist")
    labels = """t-shirt trousers pullover dress coat sandal shirt sneaker bag""".split()
    rows = Rows(
        "fashion-mnist",
        [*labels, "ankle boot"],
        "a photo of a {}.",
        "Fashion-MNIST product photos (28x28 grey), a class-balanced subset.",
        shots=16,
        val_shots=4,
    )
    for split, stem, most in (("train", "train", 64), ("test", "t10k", 200)):
        pictures = _idx(FASHION / f"{stem}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
        labelled = _idx(FASHION / f"{stem}-labels-idx1-ubyte.gz", 8)
        for label in range(len(rows.classes)):
            for i in np.flatnonzero(labelled == label)[:most]:
                rows.add(_grey(pictures[i]), label, "fashion-mnist", split)
    return rows


def digits(icons: Iconify) -> Rows:
    """Handwritten digits, as scikit-learn ships them, enlarged."""
    from sklearn.datasets import load_digits

    found = load_digits()
    labels = "zero one two three four five six seven eight nine".split()
    rows = Rows(
        "digits",
        labels,
        "a picture of the number {}.",
        "Handwritten digits (UCI optical recognition), 8x8 enlarged to 32x32.",
        shots=16,
        val_shots=4,
    )
    for label in range(10):
        for place, i in enumerate(np.flatnonzero(found.target == label)[:132]):
            small = Image.fromarray((found.images[i] / 16 * 255).astype(np.uint8))
            large = small.resize((32, 32), Image.Resampling.BICUBIC)
            rows.add(_grey(np.asarray(large)), label, "digits", "train" if place < 32 else "test")
    return rows


def _idx(path: Path, offset: int) -> np.ndarray:
    return np.frombuffer(gzip.open(path).read(), np.uint8, offset=offset)


def _grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[..., None], 3, -1)


TASKS: dict[str, Callable[[Iconify], Rows]] = {
    "icon-concepts": icon_concepts,
    "emoji-things": emoji_things,
    "flags": flags,
    "fashion-mnist": fashion,
    "digits": digits,
}

# Sources that are no icon sets: title, author, licence, home.
OTHERS = {
    "fashion-mnist": [
        "Fashion-MNIST",
        "Zalando SE",
        "MIT",
        "github.com/zalandoresearch/fashion-mnist",
    ],
    "digits": [
        "Optical Recognition of Handwritten Digits (test part)",
        "E. Alpaydin, C. Kaynak; via scikit-learn",
        "CC-BY-4.0",
        "archive.ics.uci.edu/dataset/80",
    ],
}


def _notice(icons: Iconify, table: dict[str, dict[str, Any]]) -> str:
    used: dict[str, set[str]] = defaultdict(set)
    for task, about in table.items():
        for domain in (d for side in about["domains"].values() for d in side):
            used[domain.removesuffix("-4x3")].add(task)
    rows = []
    for source in sorted(used):
        title, *rest = OTHERS[source] if source in OTHERS else icons.source(source)
        rows.append([title, ", ".join(sorted(used[source])), *rest])
    sentence = (
        "Drawings were rendered to pixels from the SVG sources packaged in"
        f" `{PACKAGE}` {icons.version} (npm); monochrome icons were coloured."
    )
    columns = ["source", "used in", "author", "licence", "home"]
    return notice("Sources and licences of the tasks", sentence, columns, rows)
