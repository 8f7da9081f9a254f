"""The pretraining corpus: drawings with captions, selected, cleaned, rendered, without doubles.

``mono.parquet`` has one row a monochrome icon: its ink at 48 x 48, 4 bits a pixel (1152 bytes, high
nibble first). ``color.parquet`` has one row a coloured drawing: 48 x 48 RGBA as lossless WebP. Both
have caption, alt (other names, ``|`` between), category, prefix (icon set) and name.
"""

import hashlib
import multiprocessing
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from harness.embedded.build import classes, names
from harness.embedded.build.corpus_files import (
    SIZE,
    Drawn,
    Pair,
    notice_of,
    write_colour,
    write_mono,
)
from harness.embedded.build.icons import Iconify, IconSet, ink, on_background
from harness.embedded.build.sources import (
    CONCEPTS,
    CORPUS_EMOJI,
    CORPUS_FLAGS,
    DROPPED,
    EMOJI,
    PREFERRED,
    RESERVED,
    STYLES,
    STYLES_OF,
)

NOT_WORDS = frozenset({"logo", "wordmark", "brand", "rtl", "abc", "uni"})
SHORT_WORDS = frozenset({"tv", "ai", "ox"})
MOST_ALIASES = 2


def build_corpus(
    icons: Iconify, out: Path, only: Sequence[str] = (), workers: int = 2
) -> Counter[str]:
    """Write the corpus into a folder; ``only`` keeps these sets. Returns what became of all."""
    pairs = list(select(icons, only))
    kept, fate = _drawn(icons, pairs, workers)
    out.mkdir(parents=True, exist_ok=True)
    write_mono([d for d in kept if not d.coloured], out / "mono.parquet")
    write_colour([d for d in kept if d.coloured], out / "color.parquet")
    (out / "NOTICE.md").write_text(notice_of(icons, kept))
    return fate


def select(icons: Iconify, only: Sequence[str] = ()) -> Iterator[Pair]:
    """Every drawing that may be learnt from, in a fixed order."""
    for prefix in sorted(icons.collections):
        wanted = not only or prefix in only
        if wanted and prefix not in RESERVED | DROPPED and icons.allowed(prefix):
            if prefix == CORPUS_EMOJI:
                yield from _emoji(icons)
            elif prefix == CORPUS_FLAGS:
                yield from _flags(icons)
            else:
                yield from _of_set(icons.set(prefix), icons.coloured(prefix))


def _of_set(icon_set: IconSet, coloured: bool) -> Iterator[Pair]:
    """A few styles of each name of a set."""
    prefix = icon_set.prefix
    styles, preferred = STYLES_OF.get(prefix, STYLES), PREFERRED.get(prefix, ())
    for words, items in sorted(_grouped(icon_set).items()):
        text = names.caption(words, prefix)
        if len(text) < 2:
            continue
        items.sort(
            key=lambda item: (
                next((i for i, part in enumerate(preferred) if part in item[0]), len(preferred)),
                "thin" in item[1],
                "light" in item[1],
                len(item[0]),
                item[0],
            )
        )
        used: Counter[str] = Counter()
        for name, style in items:
            kind = names.kind(style)
            used[kind] += 1
            if used[kind] <= styles[kind]:
                alt = "|".join(_other_captions(icon_set, name, text))
                yield Pair(prefix, name, text, alt, icon_set.categories.get(name, ""), coloured)


def _grouped(icon_set: IconSet) -> dict[tuple[str, ...], list[tuple[str, set[str]]]]:
    prefix = icon_set.prefix
    found: dict[tuple[str, ...], list[tuple[str, set[str]]]] = defaultdict(list)
    for name in sorted(icon_set.names):
        if _repeats(prefix, name):
            continue
        words, style = names.split(prefix, name, icon_set.names, icon_set.suffixes)
        spelt = [w for w in words if len(w) > 1 and w.isalpha()]
        short = len(spelt) == 1 and len(spelt[0]) < 3 and spelt[0] not in SHORT_WORDS
        digits = sum(c.isdigit() for c in "".join(words))
        if spelt and not short and digits <= 3 and not NOT_WORDS & set(words):
            found[words].append((name, style))
    return found


def _repeats(prefix: str, name: str) -> bool:
    """Material's rounded and sharp cuts of one drawing."""
    if prefix not in ("material-symbols", "ic"):
        return False
    cut = name.rsplit("-", 1)[-1] in ("rounded", "sharp")
    return cut or (prefix == "ic" and name.split("-")[0] in ("round", "sharp", "twotone"))


def _other_captions(icon_set: IconSet, name: str, text: str) -> list[str]:
    found: list[str] = []
    for other in icon_set.aliases.get(name, [])[:4]:
        words, _ = names.split(icon_set.prefix, other, icon_set.names, icon_set.suffixes)
        said = names.caption(words, icon_set.prefix)
        new = said != text and said not in found and len(said) > 2
        if new and not any(c.isdigit() for c in said):
            found.append(said)
    return found[:MOST_ALIASES]


def _emoji(icons: Iconify) -> Iterator[Pair]:
    """An emoji vendor whose names are written together: read by the other vendors' names."""
    vendors = [icons.set(p) for side in EMOJI.values() for p in side if icons.has(p)]
    spelt = {n.replace("-", ""): n for v in vendors for n in sorted(v.drawn) if "skin" not in n}
    for name in sorted(icons.set(CORPUS_EMOJI).names):
        known = spelt.get(name.replace("-", ""))
        text = names.caption(known.split("-")) if known else ""
        if text and "flag" not in text:
            yield Pair(CORPUS_EMOJI, name, text, "", "", True)


def _flags(icons: Iconify) -> Iterator[Pair]:
    drawn = icons.set(CORPUS_FLAGS).names
    for code, (country, *_) in sorted(classes.countries().items()):
        said = country.lower()
        if code in drawn:
            alt = f"the flag of {said}|{said}"
            yield Pair(CORPUS_FLAGS, code, f"flag of {said}", alt, "", True)


# --- rendering -------------------------------------------------------------------------------


def _drawn(icons: Iconify, pairs: list[Pair], workers: int) -> tuple[list[Drawn], Counter[str]]:
    """The rendered pairs without empty ones, doubles and looks of held-out drawings."""
    kept: list[Drawn] = []
    seen: set[object] = set()
    fate: Counter[str] = Counter()
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _start, (icons.folder,)) as pool:
        held_out = set(pool.map(_look_of, list(_held_out(icons)), 256)) - {None}
        for drawn in pool.imap(_render, pairs, 256):
            reason = _refused(drawn, held_out, seen)
            fate[reason or "kept"] += 1
            if drawn is not None and not reason:
                kept.append(drawn)
    return kept, fate


def _held_out(icons: Iconify) -> Iterator[tuple[str, str]]:
    """Every drawing of a tested concept in the sets that are reserved for it."""
    tested = {word for words in classes.concepts().values() for word in words}
    for prefix in (*CONCEPTS["test"], *CONCEPTS["train"]):
        if icons.has(prefix):
            icon_set = icons.set(prefix)
            for name in sorted(icon_set.names):
                words, _ = names.split(prefix, name, icon_set.names, icon_set.suffixes)
                if "-".join(words) in tested:
                    yield prefix, name


def _refused(drawn: Drawn | None, held_out: set[bytes | None], seen: set[object]) -> str:
    """Why a drawing is left out, or nothing."""
    if drawn is None or drawn.look is None:
        return "empty"
    if drawn.look in held_out and not drawn.coloured:
        return "looks like a held-out icon"
    keys = [(drawn.look, drawn.pair.caption), *([] if drawn.coloured else [drawn.look])]
    if any(key in seen for key in keys):
        return "double"
    seen.update(keys)
    return ""


_package: Iconify


def _start(folder: Path) -> None:
    global _package
    _package = Iconify(folder)


def _render(pair: Pair) -> Drawn | None:
    rgba = _package.set(pair.prefix).render(pair.name, SIZE)
    if rgba is None:
        return None
    mask = ink(rgba)
    if pair.coloured and _has_colour(rgba):
        return Drawn(pair, rgba, look(mask), True)
    return Drawn(pair, mask, look(mask), False) if (mask > 60).mean() >= 0.008 else None


def _look_of(place: tuple[str, str]) -> bytes | None:
    rgba = _package.set(place[0]).render(place[1], SIZE)
    return None if rgba is None else look(ink(rgba))


def _has_colour(rgba: np.ndarray) -> bool:
    flat = on_background(rgba, (255, 255, 255)).astype(int)
    return bool((flat.max(-1) - flat.min(-1)).max() > 24)


def look(mask: np.ndarray) -> bytes | None:
    """How a drawing looks from afar: cropped to its ink, 12 x 12, three levels, hashed."""
    rows, columns = np.where(mask > 60)
    if len(rows) < 4:
        return None
    cut = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    small = np.asarray(Image.fromarray(cut).resize((12, 12), Image.Resampling.BOX)).astype(int)
    levels = ((small + 43) // 86).astype(np.uint8)
    return hashlib.md5(levels.tobytes(), usedforsecurity=False).digest()[:8]
