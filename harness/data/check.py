"""``ringbench data check``: finds what is wrong with a data set before anything runs.

A problem would stop a run or falsify its numbers; a note is worth knowing.
"""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from harness.data import near_duplicates, progress, registry, worker_pool
from harness.data.dataset import Dataset
from harness.data.decode import CHUNK, DECODE_ERRORS, FEW, error_text
from harness.data.public_sets import canonical_name
from harness.data.readers.image_files import take_images
from harness.data.readers.validation import SPLITS, prompt_name
from methods.kit.core.errors import UsageError

NEAR = 4  # of 64 bits in which the hashes of nearly equal images may differ
SHOWN = 3  # examples of each finding
SMALL = 16  # pixels
DEEP = ("I", "I;16", "I;16B", "I;16L", "F")  # Pillow's modes of more than 8 bits
ORIENTATION = 0x0112  # the EXIF tag of the way the camera was held
SUFFIXES = {  # of formats whose files have other names than theirs
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg"),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}


@dataclass(frozen=True)
class Finding:
    """One kind of problem or note, how often it was found, and where."""

    level: Literal["problem", "note"]
    what: str
    count: int
    examples: tuple[str, ...] = ()

    @property
    def more(self) -> bool:
        return len(self.examples) < self.count and bool(self.examples)


@dataclass(frozen=True)
class CheckReport:
    """The findings about one data set."""

    name: str
    state: Literal["good", "notes", "problems", "absent"]
    classes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    findings: tuple[Finding, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {**vars(self), "findings": [vars(f) for f in self.findings]}


@dataclass(frozen=True)
class ImageFacts:
    """What a check needs to know of one image."""

    sha: str
    error: str = ""
    phash: int | None = None
    format: str = ""
    mode: str = ""
    side: int = 0  # the shorter one
    turned: bool = False
    frames: int = 1


def check_dataset(
    name: str, root: str = "", shots: int = 0, images: bool = True, requested: bool = True
) -> CheckReport:
    """Check a data set by name.

    A set that cannot be read has that as its problem. One of which nothing is there is absent,
    unless it was ``requested`` by name.
    """
    name = canonical_name(name)
    if not requested and not registry.is_present(name, root):
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
    """Check the counts and names of a data set and, with ``images``, every image."""
    counts = {part: len(table.rows(part)) for part in SPLITS}
    findings = [*_check_counts(table, counts, expected), *_check_classes(table, shots)]
    findings += _findings(("note", "files that are no images by their name", list(table.ignored)))
    if images:
        facts = _inspect(table)
        findings += [*_check_images(table, facts), *_check_copies(table, facts)]
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


def _check_counts(
    table: Dataset, counts: dict[str, int], expected: dict[str, Any]
) -> list[Finding]:
    actual = {"classes": len(table.classnames), **counts}
    wrong = [
        f"{expected[key]:,} {key} expected, {actual[key]:,} found"
        for key in actual
        if isinstance(expected.get(key), int) and expected[key] != actual[key]
    ]
    return [Finding("problem", "not complete", len(wrong), tuple(wrong))] if wrong else []


def _check_classes(table: Dataset, shots: int) -> list[Finding]:
    names = table.classnames

    def images_per_class(part: str) -> list[tuple[str, int]]:
        counts = np.bincount(table.labels[table.rows(part)], minlength=len(names))
        return list(zip(names, counts.tolist(), strict=True))

    train, test = images_per_class("train"), images_per_class("test")
    few = sorted((n, name) for name, n in train if 0 < n < shots)
    folded = [prompt_name(name).casefold() for name in names]
    alike = [names[i] for i, one in enumerate(folded) if folded.count(one) > 1]
    only_tested = not any(n for _, n in train)
    without = [] if only_tested else [name for name, n in train if not n]
    return _findings(
        ("problem", "classes without training images", without),
        ("note", "classes without test images", [name for name, n in test if not n]),
        ("note", f"classes with fewer than {shots} training images", [f"{c}: {n}" for n, c in few]),
        ("note", "class names that differ only in capitals", alike),
        ("note", "class names that are numbers", [n for n in names if n.strip().isdigit()]),
    )


# --- every image -----------------------------------------------------------------------------


def _inspect(table: Dataset) -> list[ImageFacts]:
    rows = range(len(table.images))
    chunks = [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
    jobs = ((take_images(table.images, chunk),) for chunk in chunks)
    workers = worker_pool.worker_count() if len(rows) > FEW else 1
    inspected: list[ImageFacts] = []
    for facts in worker_pool.map_ordered(inspect_images, jobs, workers):
        inspected += facts
        progress.report(f"checking {table.name}", len(inspected), len(rows))
    return inspected


def inspect_images(images: Sequence[bytes]) -> list[ImageFacts]:
    """Open images and return what is seen of each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [_inspect_image(images, row) for row in range(len(images))]


def _inspect_image(images: Sequence[bytes], row: int) -> ImageFacts:
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
    except (UsageError, *DECODE_ERRORS) as error:
        return ImageFacts(sha, error_text(error, data))


def _check_images(table: Dataset, facts: list[ImageFacts]) -> list[Finding]:
    def where(condition: Callable[[ImageFacts], bool]) -> list[str]:
        return [table.where(row) for row, one in enumerate(facts) if condition(one)]

    broken = [f"{table.where(r)}: {one.error}" for r, one in enumerate(facts) if one.error]
    empty = [text for text in broken if text.endswith(": no bytes")]
    misnamed = [
        f"{path} is {one.format}"
        for path, one in zip(table.paths, facts, strict=False)
        if one.format and not _has_suffix_of(one.format, path)
    ]
    return _findings(
        ("problem", "files of zero bytes", empty),
        ("problem", "images that cannot be read", [t for t in broken if t not in empty]),
        ("note", "images with the name of another format", misnamed),
        ("problem", "images of 16 bits, white above 255", where(lambda x: x.mode in DEEP)),
        ("note", "images turned by their EXIF tag, which is not read", where(lambda x: x.turned)),
        ("note", "moving images, of which the first is read", where(lambda x: x.frames > 1)),
        ("note", f"images smaller than {SMALL} pixels", where(lambda x: 0 < x.side < SMALL)),
    )


def _has_suffix_of(kind: str, path: str) -> bool:
    return Path(path).suffix.lower() in SUFFIXES.get(kind, (f".{kind.lower()}",))


def _check_copies(table: Dataset, facts: list[ImageFacts]) -> list[Finding]:
    """Find copies across train and test, copies with two labels, and nearly equal images."""
    where, split = table.where, table.split
    leaks, torn, plain = [], [], []
    for rows in near_duplicates.equal_rows([one.sha for one in facts]):
        shown = " = ".join(where(row) for row in rows[:SHOWN])
        parts, labels = set(split[rows].tolist()), set(table.labels[rows].tolist())
        if "test" in parts and len(parts) > 1:
            leaks.append(shown)
        if len(labels) > 1:
            torn.append(shown)
        elif len(parts) == 1:
            plain.append(shown)
    hashes = {row: one.phash for row, one in enumerate(facts) if one.phash is not None}
    train = {row: h for row, h in hashes.items() if split[row] in ("train", "val")}
    test = {row: h for row, h in hashes.items() if split[row] == "test"}
    pairs = [
        f"{where(p.one)} ~ {where(p.other)}"
        for p in near_duplicates.near_pairs(train, test, NEAR)
        if facts[p.one].sha != facts[p.other].sha
    ]
    return _findings(
        ("problem", "images in test and in train or val", leaks),
        ("problem", "images under two labels", torn),
        ("note", "images twice in one split", plain),
        ("note", "test images that look like one of train or val", pairs),
    )


def _findings(*kinds: tuple[Literal["problem", "note"], str, list[str]]) -> list[Finding]:
    """Return a finding for each kind that has examples."""
    return [Finding(level, what, len(w), tuple(w[:SHOWN])) for level, what, w in kinds if w]
