"""Few-shot subsets as JSON files beside the split: proof of which images were drawn.

The rule and the seed define a subset; its file lists the paths, which anyone can compare. A run
verifies its subset against the file, where there is one, and stops if the two differ.
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
REMEDY = "delete it, and `ringbench data fewshot` writes it again"


def store_subset(
    table: Dataset, spec: DataSpec, seed: int, drawn: FewShotSubset
) -> tuple[Path, bool]:
    """Return the file of a subset, and whether it was written just now. Raises UsageError."""
    known = verify_subset(table, spec, seed, drawn)
    if known:
        return known, False
    text = json.dumps(_document(table, spec, seed, drawn), indent=1) + "\n"
    places = _places(table, spec, seed)
    for path in places:
        try:
            atomic_files.write_text(path, text)
        except OSError:  # the folder of the split is read-only: store it with the results
            continue
        verify_subset(table, spec, seed, drawn)
        return path, True
    raise UsageError(f"{places[-1].parent}: cannot be written to; set {paths.HOME}")


def verify_subset(table: Dataset, spec: DataSpec, seed: int, drawn: FewShotSubset) -> Path | None:
    """Return the file of a subset after checking it; None without one. Raises UsageError."""
    path = next((path for path in _places(table, spec, seed) if path.is_file()), None)
    if path is None:
        return None
    expected, stored = _document(table, spec, seed, drawn), read_subset(path)
    if stored["source_sha256"] != expected["source_sha256"]:
        raise UsageError(f"{path}: drawn from another split (its SHA-256 differs); {REMEDY}")
    for key, value in expected.items():
        if stored.get(key) != value:
            raise UsageError(f"{path}: {key}: not what rule {spec.subset} draws; {REMEDY}")
    return path


def read_subset(path: Path) -> dict[str, Any]:
    """Read a stored subset. Raises UsageError for any other file."""
    try:
        stored = json.loads(path.read_text())
        if not {"train", "val", "source_sha256"} <= set(stored):
            raise ValueError
    except (ValueError, TypeError):
        raise UsageError(f"{path}: not a few-shot subset; {REMEDY}") from None
    return dict(stored)


def _places(table: Dataset, spec: DataSpec, seed: int) -> list[Path]:
    """Return where a subset may be stored: beside the split, else with the results.

    Among a person's own class folders it would be one more class. The name says what differs from
    CoOp's rule: ``shot_16-seed_1.json``, ``shot_16-seed_1-clip_lora.json``.
    """
    name = f"shot_{spec.shots}-seed_{seed}"
    name += f"-{spec.subset}" if spec.subset != "coop" else ""
    name += f"-val_{spec.val_shots}" if spec.val_shots != DataSpec.val_shots else ""
    folders = [table.folder / FOLDER] if table.folder and table.source else []
    results = paths.home_path() / "fewshot" / f"{Path(table.name).name}-{_source_hash(table)[:12]}"
    return [folder / f"{name}.json" for folder in (*folders, results)]


def _source_hash(table: Dataset) -> str:
    """Return the SHA-256 of the listing, or of the content digest of a set without one."""
    return table.source or hashlib.sha256(table.digest.encode()).hexdigest()


def _document(table: Dataset, spec: DataSpec, seed: int, drawn: FewShotSubset) -> dict[str, Any]:
    """Return what is stored of a subset."""

    def listed(rows: Sequence[int]) -> list[dict[str, Any]]:
        labels = table.labels[list(rows)].tolist()
        return [
            {
                "path": table.paths[row] if table.paths else f"row {row}",
                "label": label,
                "classname": table.classnames[label],
            }
            for row, label in zip(rows, labels, strict=True)
        ]

    return {
        "data": table.name,
        "rule": spec.subset,
        "seed": seed,
        "shots": spec.shots,
        "val_shots": spec.val_shots,
        "source_sha256": _source_hash(table),
        "train": listed(drawn.train.tolist()),
        "val": listed(drawn.val.tolist()),
    }
