"""Which images are trained on: few-shot subsets drawn as the field draws them."""

import random
from dataclasses import dataclass

import numpy as np

from harness.datasets.table import Table
from harness.spec import DataSpec
from methods.kit.errors import UsageError


@dataclass(frozen=True)
class Shots:
    """Row numbers of a subset, in the order in which they were drawn."""

    train: np.ndarray
    val: np.ndarray


def draw(table: Table, spec: DataSpec, seed: int) -> Shots:
    """The few-shot subset of a seed by CoOp's rule, with a private generator.

    The training list is grouped by label in order of first appearance and K images are drawn for
    each label in that order; then min(K, val_shots) for each label from the validation split. A
    data set without one draws them from what the first draw left. Raises UsageError when a class
    is too small, unless ``short_classes`` says to take such classes whole, as CoOp does.
    """
    rng = random.Random(seed)
    val_shots = min(spec.shots, spec.val_shots)
    pool = _by_label(table, table.rows("train"))
    own_val = len(table.rows("val")) > 0
    _check(table, pool, spec, 0 if own_val else val_shots)
    train = {label: _sample(rng, rows, spec.shots) for label, rows in pool.items()}
    if own_val:
        left = _by_label(table, table.rows("val"))
    else:
        left = {label: [r for r in pool[label] if r not in set(train[label])] for label in pool}
    val = {label: _sample(rng, rows, val_shots) for label, rows in left.items()}
    return Shots(_joined(train), _joined(val))


def _by_label(table: Table, rows: np.ndarray) -> dict[int, list[int]]:
    grouped: dict[int, list[int]] = {}
    for row in rows.tolist():
        grouped.setdefault(int(table.labels[row]), []).append(row)
    return grouped


def _sample(rng: random.Random, rows: list[int], k: int) -> list[int]:
    return rng.sample(rows, k) if len(rows) >= k else rows


def _joined(drawn: dict[int, list[int]]) -> np.ndarray:
    return np.array([row for rows in drawn.values() for row in rows], dtype=np.int64)


def _check(table: Table, pool: dict[int, list[int]], spec: DataSpec, held_out: int) -> None:
    empty = sorted(set(range(len(table.classnames))) - set(pool))
    if empty:
        name = table.classnames[empty[0]]
        raise UsageError(f"data set {table.name!r}: class {name!r} has no training images")
    smallest = min(pool, key=lambda label: len(pool[label]))
    size = len(pool[smallest])
    if spec.short_classes == "take" or size >= spec.shots + held_out:
        return
    where = f"class {table.classnames[smallest]!r} of {table.name!r} has {size} training images"
    also = f" and {held_out} for validation" if held_out else ""
    raise UsageError(
        f"data.shots: {where}, {spec.shots}{also} were asked for;"
        f" use data.shots={max(1, size - held_out)} or data.short_classes=take"
    )
