"""Few-shot subsets, drawn by published rules."""

import random
from dataclasses import dataclass

import numpy as np

from harness.data.dataset import Dataset
from harness.spec.spec import DataSpec
from methods.kit.core.errors import UsageError

Grouped = dict[int, list[int]]  # label to rows, in order of first appearance


@dataclass(frozen=True)
class FewShotSubset:
    """Row numbers of a subset, in the order in which they were drawn."""

    train: np.ndarray
    val: np.ndarray


def draw_subset(table: Dataset, spec: DataSpec, seed: int) -> FewShotSubset:
    """Draw the few-shot subset of a seed, with a generator of its own.

    Rows are grouped by label in order of first appearance and drawn label by label in that order.
    ``coop`` draws K training images per label, then min(K, val_shots) validation images;
    ``clip_lora`` draws the validation images first, so the two share only some images. Without a
    validation split, ``coop`` draws validation images from what training left, and ``clip_lora``
    draws both at once. Zero shots take all images. Raises UsageError if a class is too small,
    unless ``short_classes`` follows the rule's paper: ``coop`` takes such classes whole,
    ``clip_lora`` repeats images.
    """
    rng = random.Random(seed)
    pool = _by_label(table, table.rows("train"))
    own = _by_label(table, table.rows("val"))
    val_shots = min(spec.shots, spec.val_shots) if spec.shots else spec.val_shots
    _check_sizes(table, pool, spec, 0 if own else val_shots)
    if not spec.shots:
        return _all_images(rng, table, pool, val_shots)
    rule = _clip_lora if spec.subset == "clip_lora" else _coop
    train, val = rule(rng, pool, own, spec.shots, val_shots)
    return FewShotSubset(_rows(train), _rows(val))


def _coop(
    rng: random.Random, pool: Grouped, own: Grouped, shots: int, val_shots: int
) -> tuple[Grouped, Grouped]:
    """Zhou et al., 2022 (CoOp): training first; a short class is taken whole."""
    train = {label: _sample(rng, rows, shots) for label, rows in pool.items()}
    drawn = {row for rows in train.values() for row in rows}
    left = own or {label: [r for r in rows if r not in drawn] for label, rows in pool.items()}
    return train, {label: _sample(rng, rows, val_shots) for label, rows in left.items()}


def _clip_lora(
    rng: random.Random, pool: Grouped, own: Grouped, shots: int, val_shots: int
) -> tuple[Grouped, Grouped]:
    """Zanella and Ben Ayed, 2024 (CLIP-LoRA): validation first; a short class repeats images."""
    if own:
        val = {label: _sample(rng, rows, val_shots, repeat=True) for label, rows in own.items()}
        train = {label: _sample(rng, rows, shots, repeat=True) for label, rows in pool.items()}
        return train, val
    both = {label: _sample(rng, rows, shots + val_shots) for label, rows in pool.items()}
    train = {label: rows[:shots] for label, rows in both.items()}
    return train, {label: rows[shots:] for label, rows in both.items()}


def _all_images(rng: random.Random, table: Dataset, pool: Grouped, val_shots: int) -> FewShotSubset:
    """Take every training image; validate on its split, or on ``val_shots`` per class held out."""
    train, val = table.rows("train"), table.rows("val")
    if len(val):
        return FewShotSubset(train, val if val_shots else val[:0])
    val = _rows({label: _sample(rng, rows, val_shots) for label, rows in pool.items()})
    return FewShotSubset(train[~np.isin(train, val)], val)


def _by_label(table: Dataset, rows: np.ndarray) -> Grouped:
    grouped: Grouped = {}
    for row, label in zip(rows.tolist(), table.labels[rows].tolist(), strict=True):
        grouped.setdefault(label, []).append(row)
    return grouped


def _sample(rng: random.Random, rows: list[int], k: int, repeat: bool = False) -> list[int]:
    """Draw k rows; of fewer rows all, or k of them that ``repeat``."""
    if len(rows) >= k:
        return rng.sample(rows, k)
    return rng.choices(rows, k=k) if repeat else rows


def _rows(drawn: Grouped) -> np.ndarray:
    return np.array([row for rows in drawn.values() for row in rows], dtype=np.int64)


def _check_sizes(table: Dataset, pool: Grouped, spec: DataSpec, held_out: int) -> None:
    """Raise UsageError for too few training images in a class; ``held_out`` are for validation."""
    if not pool:
        raise UsageError(
            f"data set {table.name!r} has test images only; it can be a target (data.targets)"
        )
    empty = sorted(set(range(len(table.classnames))) - set(pool))
    if empty:
        name = table.classnames[empty[0]]
        raise UsageError(f"data set {table.name!r}: class {name!r} has no training images")
    smallest = min(pool, key=lambda label: len(pool[label]))
    size, needed = len(pool[smallest]), (spec.shots or 1) + held_out
    if size >= needed or (spec.short_classes == "take" and spec.shots):
        return
    where = f"class {table.classnames[smallest]!r} of {table.name!r} has {size} training images"
    if not spec.shots:
        raise UsageError(
            f"data.val_shots: {where}, but one and {held_out} for validation are needed;"
            " lower data.val_shots"
        )
    why = f"shots={spec.shots}" + (f" and {held_out} for validation need" if held_out else " needs")
    raise UsageError(
        f"data.shots: {where}, but {why} {needed};"
        f" use data.shots={max(1, size - held_out)} or data.short_classes=take"
    )
