"""``ringbench data check``: what could be wrong with a data set, looked at before anything is run.

A problem would stop a run or make its numbers untrue; a note is worth knowing.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from harness.data import near_duplicates, progress, registry, worker_pool
from harness.data.dataset import Dataset
from harness.data.decode import CHUNK, DECODE_ERRORS, FEW
from harness.data.readers.image_files import take_images
from harness.data.readers.validation import SPLITS, prompt_name
from methods.kit.core.errors import UsageError

NEAR = 4  # bits of 64 in which hashes of nearly the same picture may differ
SHOWN = 3  # examples of each finding
SMALL = 16  # pixels
ORIENTATION = 0x0112  # the EXIF tag by which a camera says that the picture lies on its side
NAMES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg"),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found, how often, and where."""

    level: Literal["problem", "note"]
    what: str
    count: int
    examples: tuple[str, ...] = ()

    @property
    def more(self) -> bool:
        return len(self.examples) < self.count and bool(self.examples)


@dataclass(frozen=True)
class CheckReport:
    """What was seen of one data set."""

    name: str
    state: Literal["good", "notes", "problems", "absent"]
    classes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    findings: tuple[Finding, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "findings": [vars(f) for f in self.findings]}


@dataclass(frozen=True)
class ImageFacts:
    """What is seen of one image."""

    sha: str
    error: str = ""
    phash: int | None = None
    format: str = ""
    mode: str = ""
    side: int = 0  # the shorter one
    turned: bool = False
    frames: int = 1


def check_dataset(
    name: str, root: str = "", shots: int = 0, images: bool = True, asked: bool = True
) -> CheckReport:
    """Check a data set by name. One that cannot be read at all has that as its problem, or is
    merely absent where there is nothing of it and nobody asked for it by name."""
    name = registry.canonical_name(name)
    if not asked and not registry.is_present(name, root):
        return CheckReport(name, "absent")
    try:
        table = registry.read_dataset(name, root)
    except UsageError as error:
        return CheckReport(name, "problems", findings=(Finding("problem", str(error), 1),))
    expected = registry.describe_set(name) if name in registry.embedded_names() else {}
    usual = registry.default_settings(name)
    return check_table(table, expected, shots or usual.get("shots", 0), images, name)


def check_table(
    table: Dataset, expected: dict[str, Any], shots: int, images: bool = True, name: str = ""
) -> CheckReport:
    """Check a table: its counts and names, and with ``images`` every image."""
    counts = {part: len(table.rows(part)) for part in SPLITS}
    findings = [*_counts(table, counts, expected), *_classes(table, shots), *_beside(table)]
    if images:
        looks = _look(table)
        findings += [*_images(table, looks), *_copies(table, looks)]
    findings.sort(key=lambda finding: finding.level != "problem")
    levels = {finding.level for finding in findings}
    return CheckReport(
        name=name or table.name,
        state="problems" if "problem" in levels else "notes" if levels else "good",
        classes=len(table.classnames),
        counts=counts,
        digest=table.digest,
        findings=tuple(findings),
    )


# --- without opening an image ----------------------------------------------------------------


def _counts(table: Dataset, counts: dict[str, int], expected: dict[str, Any]) -> list[Finding]:
    found = {"classes": len(table.classnames), **counts}
    wrong = [
        f"{expected[key]:,} {key} expected, {found[key]:,} found"
        for key in found
        if isinstance(expected.get(key), int) and expected[key] != found[key]
    ]
    return [Finding("problem", "not complete", len(wrong), tuple(wrong))] if wrong else []


def _classes(table: Dataset, shots: int) -> list[Finding]:
    names = table.classnames
    rows = table.rows("train")
    train = np.bincount(table.labels[rows], minlength=len(names)).tolist()
    test = np.bincount(table.labels[table.rows("test")], minlength=len(names)).tolist()
    few = sorted((n, name) for n, name in zip(train, names, strict=True) if 0 < n < shots)
    folded = [prompt_name(name).casefold() for name in names]
    alike = [names[i] for i, one in enumerate(folded) if folded.count(one) > 1]
    without = _at(names, train) if len(rows) else []  # a set that is only tested has none
    return _some(
        ("problem", "classes without training images", without),
        ("note", "classes without test images", _at(names, test)),
        ("note", f"classes with fewer than {shots} training images", [f"{c}: {n}" for n, c in few]),
        ("note", "class names that differ only in capitals", alike),
        ("note", "class names that are numbers", [n for n in names if n.strip().isdigit()]),
    )


def _at(names: Sequence[str], counts: list[int]) -> list[str]:
    return [name for name, n in zip(names, counts, strict=True) if n == 0]


def _beside(table: Dataset) -> list[Finding]:
    return _some(("note", "files that are no images by their name", list(table.ignored)))


# --- every image -----------------------------------------------------------------------------


def _look(table: Dataset) -> list[ImageFacts]:
    rows = range(len(table.images))
    chunks = [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
    jobs = ((i, take_images(table.images, chunk)) for i, chunk in enumerate(chunks))
    found: dict[int, list[ImageFacts]] = {}
    for i, looks in worker_pool.map_unordered(
        inspect_images, jobs, worker_pool.worker_count() if len(rows) > FEW else 1
    ):
        found[i] = looks
        progress.report(f"looking at {table.name}", min(CHUNK * len(found), len(rows)), len(rows))
    return [one for i in range(len(chunks)) for one in found[i]]


def inspect_images(chunk: int, images: Sequence[bytes]) -> tuple[int, list[ImageFacts]]:
    """What is seen of some images; the number of the chunk is handed back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return chunk, [_seen(images, i) for i in range(len(images))]


def _seen(images: Sequence[bytes], row: int) -> ImageFacts:
    data, sha = b"", f"unread {row}"
    try:
        data = images[row]
        sha = sha256(data).hexdigest()
        with Image.open(io.BytesIO(data)) as image:
            facts = (image.format or "", image.mode, min(image.size))
            turned = image.getexif().get(ORIENTATION, 1) != 1
            frames = getattr(image, "n_frames", 1)
            phash = near_duplicates.perceptual_hash(image.convert("RGB"))
            return ImageFacts(sha, "", phash, *facts, turned, frames)
    except UnidentifiedImageError:
        return ImageFacts(sha, "not an image" if data else "no bytes")
    except (UsageError, *DECODE_ERRORS) as error:
        return ImageFacts(sha, " ".join(str(error).split()) or type(error).__name__)


def _images(table: Dataset, looks: list[ImageFacts]) -> list[Finding]:
    def where(wanted: Any) -> list[str]:
        return [table.where(row) for row, one in enumerate(looks) if wanted(one)]

    broken = [f"{table.where(r)}: {x.error}" for r, x in enumerate(looks) if x.error]
    empty = [text for text in broken if text.endswith(": no bytes")]
    misnamed = [
        f"{path} is {looks[row].format}"
        for row, path in enumerate(table.paths)
        if looks[row].format and not _fits(path, looks[row].format)
    ]
    return _some(
        ("problem", "files of zero bytes", empty),
        ("problem", "images that cannot be read", [t for t in broken if t not in empty]),
        ("note", "images with the name of another format", misnamed),
        ("problem", "images of 16 bits, white above 255", where(lambda x: x.mode in DEEP)),
        ("note", "images turned by their EXIF tag, which is not read", where(lambda x: x.turned)),
        ("note", "moving images, of which the first is read", where(lambda x: x.frames > 1)),
        ("note", f"images smaller than {SMALL} pixels", where(lambda x: 0 < x.side < SMALL)),
    )


DEEP = ("I", "I;16", "I;16B", "I;16L", "F")


def _fits(path: str, kind: str) -> bool:
    suffix = Path(path).suffix.lower()
    return suffix in NAMES.get(kind, (f".{kind.lower()}",))


def _copies(table: Dataset, looks: list[ImageFacts]) -> list[Finding]:
    """Copies across train and test, copies with two labels, and nearly the same pictures."""
    where, split, labels = table.where, table.split, table.labels
    leaks, torn, plain = [], [], []
    for rows in near_duplicates.equal_rows([one.sha for one in looks]):
        shown = " = ".join(where(row) for row in rows[:SHOWN])
        if "test" in split[rows] and len(set(split[rows].tolist())) > 1:
            leaks.append(shown)
        if len(set(labels[rows].tolist())) > 1:
            torn.append(shown)
        elif len(set(split[rows].tolist())) == 1:
            plain.append(shown)
    hashes = {row: one.phash for row, one in enumerate(looks) if one.phash is not None}
    train = {row: h for row, h in hashes.items() if split[row] in ("train", "val")}
    test = {row: h for row, h in hashes.items() if split[row] == "test"}
    pairs = [
        f"{where(p.one)} ~ {where(p.other)}"
        for p in near_duplicates.near_pairs(train, test, NEAR)
        if looks[p.one].sha != looks[p.other].sha
    ]
    return _some(
        ("problem", "images in test and in train or val", leaks),
        ("problem", "images under two labels", torn),
        ("note", "images twice in one split", plain),
        ("note", "test images that look like one of train or val", pairs),
    )


def _some(*kinds: tuple[Literal["problem", "note"], str, list[str]]) -> list[Finding]:
    """Findings of what was found at least once."""
    return [
        Finding(level, what, len(where), tuple(where[:SHOWN]))
        for level, what, where in kinds
        if where
    ]
