"""Few-shot subsets as JSON files beside the split: proof of which images were drawn.

The rule and the seed say what a subset is; a file says it in paths that anyone can compare. A run
reads the file of its subset where there is one, and refuses to go on if the two differ.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.data.dataset import Dataset
from harness.data.few_shot import FewShotSubset
from harness.spec import atomic_files, paths
from harness.spec.spec import DataSpec
from methods.kit.core.errors import UsageError

FOLDER = "split_fewshot"  # where CoOp keeps its own, as pickles
USUAL_VAL = 4
AGAIN = "delete it, and `ringbench data fewshot` makes it again"


def file_name(spec: DataSpec, seed: int) -> str:
    """``shot_16-seed_1.json``; what differs from CoOp's rule is part of the name."""
    name = f"shot_{spec.shots}-seed_{seed}"
    if spec.subset != "coop":
        name += f"-{spec.subset}"
    if spec.val_shots != USUAL_VAL:
        name += f"-val_{spec.val_shots}"
    return f"{name}.json"


def source_hash(table: Dataset) -> str:
    """SHA-256 of what lists the rows, or of the content of a data set that is one file."""
    return table.source or hashlib.sha256(table.digest.encode()).hexdigest()


def subset_folders(table: Dataset) -> list[Path]:
    """Folders in which a subset may lie: beside the split, else among the results.

    Among a person's own class folders it would be one more class.
    """
    kept = paths.home_path() / "fewshot" / f"{Path(table.name).name}-{source_hash(table)[:12]}"
    return [table.folder / FOLDER, kept] if table.folder and table.source else [kept]


def document(table: Dataset, spec: DataSpec, seed: int, drawn: FewShotSubset) -> dict[str, Any]:
    """What is written of a subset."""
    return {
        "data": table.name,
        "rule": spec.subset,
        "seed": seed,
        "shots": spec.shots,
        "val_shots": spec.val_shots,
        "source_sha256": source_hash(table),
        "train": _items(table, drawn.train.tolist()),
        "val": _items(table, drawn.val.tolist()),
    }


def find_subset(table: Dataset, spec: DataSpec, seed: int) -> Path | None:
    """The file of a subset, where there is one."""
    paths = (folder / file_name(spec, seed) for folder in subset_folders(table))
    return next((path for path in paths if path.is_file()), None)


def verify_subset(table: Dataset, spec: DataSpec, seed: int, drawn: FewShotSubset) -> Path | None:
    """The file of a subset, checked against the draw; None without one. Raises UsageError."""
    path = find_subset(table, spec, seed)
    if path is None:
        return None
    expected, stored = document(table, spec, seed, drawn), read_subset(path)
    if stored["source_sha256"] != expected["source_sha256"]:
        raise UsageError(f"{path}: drawn from another split (its SHA-256 differs); {AGAIN}")
    for key, value in expected.items():
        if stored.get(key) != value:
            raise UsageError(f"{path}: {key}: not what rule {spec.subset} draws; {AGAIN}")
    return path


def read_subset(path: Path) -> dict[str, Any]:
    """A stored subset. Raises UsageError for a file that is none."""
    try:
        stored = json.loads(path.read_text())
        if not {"train", "val", "source_sha256"} <= set(stored):
            raise ValueError
    except (ValueError, TypeError):
        raise UsageError(f"{path}: not a few-shot subset; {AGAIN}") from None
    return dict(stored)


def store_subset(
    table: Dataset, spec: DataSpec, seed: int, drawn: FewShotSubset
) -> tuple[Path, bool]:
    """The file of a subset, and whether it was written just now. Raises UsageError."""
    found = verify_subset(table, spec, seed, drawn)
    if found:
        return found, False
    text = json.dumps(document(table, spec, seed, drawn), indent=1) + "\n"
    for folder in subset_folders(table):
        try:
            path = folder / file_name(spec, seed)
            atomic_files.write_text(path, text)
        except OSError:  # beside the split is read-only: among the results then
            continue
        verify_subset(table, spec, seed, drawn)
        return path, True
    raise UsageError(f"{subset_folders(table)[-1]}: cannot be written to; set {paths.HOME}")


def overlap(one: Sequence[int], other: Sequence[int]) -> float:
    """Per cent of images that two subsets share, of the larger one; images count once."""
    a, b = set(one), set(other)
    return 100 * len(a & b) / max(len(a), len(b)) if a and b else 0.0


def _items(table: Dataset, rows: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {
            "path": table.paths[row] if table.paths else f"row {row}",
            "label": int(table.labels[row]),
            "classname": table.classnames[int(table.labels[row])],
        }
        for row in rows
    ]
