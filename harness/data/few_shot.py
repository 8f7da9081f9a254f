"""Which images are trained on: few-shot subsets drawn as the field draws them."""

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
    """The few-shot subset of a seed by a published rule, with a private generator.

    A list is grouped by label in order of first appearance and drawn from label by label in that
    order. ``coop`` draws K training images a label, then min(K, val_shots) validation images;
    ``clip_lora`` draws the validation images first, so the two share only some images. Of a data
    set without a validation split, ``coop`` draws them from what the first draw left, and
    ``clip_lora`` draws both at once. Zero shots are all images. Raises UsageError when a class is
    too small, unless ``short_classes`` says to do as the rule's paper does: ``coop`` takes such
    classes whole, ``clip_lora`` repeats images.
    """
    rng = random.Random(seed)
    pool = _by_label(table, table.rows("train"))
    own = _by_label(table, table.rows("val"))
    val_shots = min(spec.shots, spec.val_shots) if spec.shots else spec.val_shots
    _check(table, pool, spec, 0 if own else val_shots)
    if not spec.shots:
        return _everything(rng, table, pool, val_shots)
    rule = _clip_lora if spec.subset == "clip_lora" else _coop
    train, val = rule(rng, pool, own, spec.shots, val_shots)
    return FewShotSubset(_joined(train), _joined(val))


def _coop(
    rng: random.Random, pool: Grouped, own: Grouped, shots: int, val_shots: int
) -> tuple[Grouped, Grouped]:
    """Zhou et al., 2022 (CoOp): training first; a short class is taken whole."""
    train = {label: _sample(rng, rows, shots) for label, rows in pool.items()}
    left = own or {label: _without(pool[label], train[label]) for label in pool}
    return train, {label: _sample(rng, rows, val_shots) for label, rows in left.items()}


def _clip_lora(
    rng: random.Random, pool: Grouped, own: Grouped, shots: int, val_shots: int
) -> tuple[Grouped, Grouped]:
    """Zanella and Ben Ayed, 2024 (CLIP-LoRA): validation first; a short class repeats images."""
    if own:
        val = {label: _repeated(rng, rows, val_shots) for label, rows in own.items()}
        return {label: _repeated(rng, rows, shots) for label, rows in pool.items()}, val
    both = {label: _sample(rng, rows, shots + val_shots) for label, rows in pool.items()}
    train = {label: rows[:shots] for label, rows in both.items()}
    return train, {label: rows[shots:] for label, rows in both.items()}


def _everything(rng: random.Random, table: Dataset, pool: Grouped, val_shots: int) -> FewShotSubset:
    """Every training image; the validation split, or else ``val_shots`` a class held out."""
    if len(table.rows("val")):
        return FewShotSubset(table.rows("train"), table.rows("val") if val_shots else _joined({}))
    val = _joined({label: _sample(rng, rows, val_shots) for label, rows in pool.items()})
    train = table.rows("train")
    return FewShotSubset(train[~np.isin(train, val)], val)


def _by_label(table: Dataset, rows: np.ndarray) -> Grouped:
    grouped: Grouped = {}
    for row, label in zip(rows.tolist(), table.labels[rows].tolist(), strict=True):
        grouped.setdefault(label, []).append(row)
    return grouped


def _sample(rng: random.Random, rows: list[int], k: int) -> list[int]:
    return rng.sample(rows, k) if len(rows) >= k else rows


def _repeated(rng: random.Random, rows: list[int], k: int) -> list[int]:
    return rng.sample(rows, k) if len(rows) >= k else rng.choices(rows, k=k)


def _without(rows: list[int], taken: list[int]) -> list[int]:
    gone = set(taken)
    return [row for row in rows if row not in gone]


def _joined(drawn: Grouped) -> np.ndarray:
    return np.array([row for rows in drawn.values() for row in rows], dtype=np.int64)


def _check(table: Dataset, pool: Grouped, spec: DataSpec, held_out: int) -> None:
    if not pool:
        raise UsageError(
            f"data set {table.name!r} has test images only; it can be a target (data.targets)"
        )
    empty = sorted(set(range(len(table.classnames))) - set(pool))
    if empty:
        name = table.classnames[empty[0]]
        raise UsageError(f"data set {table.name!r}: class {name!r} has no training images")
    smallest = min(pool, key=lambda label: len(pool[label]))
    size, wanted = len(pool[smallest]), spec.shots or 1
    if size >= wanted + held_out or (spec.short_classes == "take" and spec.shots):
        return
    where = f"class {table.classnames[smallest]!r} of {table.name!r} has {size} training images"
    also = f" and {held_out} for validation" if held_out else ""
    if not spec.shots:
        raise UsageError(f"data.val_shots: {where}, one{also} are needed; lower data.val_shots")
    raise UsageError(
        f"data.shots: {where}, {spec.shots}{also} were asked for;"
        f" use data.shots={max(1, size - held_out)} or data.short_classes=take"
    )
