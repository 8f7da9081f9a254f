"""The tasks that icon sets draw: RGB at 64 x 64.

What is random (colours of monochrome icons, which drawings of a set are taken) depends on the
drawing's name alone.
"""

import random
from collections import Counter, defaultdict

import numpy as np

from harness.embedded.build import classes, names
from harness.embedded.build.icons import Iconify, IconSet, ink, on_background
from harness.embedded.build.rows import Rows
from harness.embedded.build.sources import CONCEPTS, EMOJI, FLAGS
from methods.kit.core.errors import UsageError

SIZE, DRAWN = 64, 55  # pixels of a picture, and of the drawing in it
WHITE = (255, 255, 255)

# Vendors whose sets repeat each other's drawings give one drawing a concept, others two.
ONE_EACH = frozenset(
    """famicons fa6-solid fa6-regular fa-solid fa-regular heroicons-outline heroicons-solid
    bx bxs""".split()
)
FEWEST_EMOJI = 3
FEWEST_CONCEPT = {"train": 8, "test": 16}
MOST_CONCEPT = {"train": 16, "test": 30}


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
        sorted(words[0] for words in countries.values()),
        "the flag of {}.",
        "Country flags by vendor: round, square and waving ones train, rectangles test.",
        shots=2,
        val_shots=1,
    )
    label = {country: i for i, country in enumerate(rows.classes)}
    for code, (country, *others) in sorted(countries.items()):
        slugs = [country.lower().replace(" ", "-"), *others]
        for split, vendors in FLAGS.items():
            for prefix in (v for v in vendors if icons.has(v)):
                drawn = icons.set(prefix).drawn
                known = _flag_names(prefix, split, code, slugs)
                name = next((n for n in known if n in drawn), "")
                picture = _paint(icons, prefix, name) if name else None
                domain = f"{prefix}-4x3" if name.endswith("4x3") else prefix
                rows.add(picture, label[country], domain, split)
    rows.drop_small(1)
    return rows


def _flag_names(prefix: str, split: str, code: str, slugs: list[str]) -> list[str]:
    if prefix == "flag":
        return [f"{code}-1x1" if split == "train" else f"{code}-4x3"]
    if prefix in ("circle-flags", "cif"):
        return [code]
    ways = ("flag-{}", "flag-for-{}", "flag-for-flag-{}")
    return [way.format(slug) for slug in slugs for way in ways]


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
