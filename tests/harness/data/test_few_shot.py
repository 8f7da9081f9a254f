"""Few-shot subsets against an independent statement of CoOp's rule."""

import random

import numpy as np
import pytest

from harness.data import few_shot, registry
from harness.data.dataset import Dataset
from harness.spec import protocols
from harness.spec.spec import DataSpec
from methods.kit.core.errors import UsageError


def table(labels: list[int], split: list[str]) -> Dataset:
    names = tuple(f"class {i}" for i in range(max(labels) + 1))
    blank = np.array([""] * len(labels))
    images = [b""] * len(labels)
    return Dataset("t", names, "{}", np.array(labels), np.array(split), blank, images, "d")


def coop(rows_by_label: list[tuple[int, list[int]]], k: int, rng: random.Random) -> list[int]:
    """CoOp's generate_fewshot_dataset, restated: labels in order of appearance, sample K each."""
    picked: list[int] = []
    for _, rows in rows_by_label:
        picked += rng.sample(rows, k) if len(rows) >= k else rows
    return picked


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("k", [1, 2, 4, 8, 16])
def test_the_picks_follow_coops_rule_with_its_own_validation_split(k: int, seed: int) -> None:
    mixed = random.Random(99)
    labels = [label for label in range(5) for _ in range(30)]
    split = ["train"] * 20 + ["val"] * 6 + ["test"] * 4
    split = split * 5
    order = list(range(len(labels)))
    mixed.shuffle(order)
    t = table([labels[i] for i in order], [split[i] for i in order])
    drawn = few_shot.draw_subset(t, DataSpec("t", shots=k, val_shots=4), seed)

    def grouped(part: str) -> list[tuple[int, list[int]]]:
        found: dict[int, list[int]] = {}
        for row in range(len(t.labels)):
            if t.split[row] == part:
                found.setdefault(int(t.labels[row]), []).append(row)
        return list(found.items())

    rng = random.Random(seed)
    assert drawn.train.tolist() == coop(grouped("train"), k, rng)
    assert drawn.val.tolist() == coop(grouped("val"), min(k, 4), rng)


def test_nothing_else_can_shift_the_draw() -> None:
    t = registry.read_dataset("flags")
    spec = DataSpec("flags", shots=2, val_shots=1)
    first = few_shot.draw_subset(t, spec, 1)
    random.seed(5)
    random.random()
    assert few_shot.draw_subset(t, spec, 1).train.tolist() == first.train.tolist()
    assert few_shot.draw_subset(t, spec, 2).train.tolist() != first.train.tolist()


@pytest.mark.parametrize("name", registry.embedded_names())
def test_the_default_shots_of_every_embedded_set_fit_its_smallest_class(name: str) -> None:
    t = registry.read_dataset(name)
    spec = DataSpec(name, **registry.default_settings(name))
    for seed in range(3):
        drawn = few_shot.draw_subset(t, spec, seed)
        assert not set(drawn.train) & set(drawn.val)
        assert set(t.split[drawn.train]) == set(t.split[drawn.val]) == {"train"}
        assert (np.bincount(t.labels[drawn.train]) == spec.shots).all()
        assert (np.bincount(t.labels[drawn.val]) == min(spec.shots, spec.val_shots)).all()


def test_a_class_that_is_too_small_is_refused_with_what_would_fit() -> None:
    with pytest.raises(UsageError, match=r"use data\.shots=2 or data\.short_classes=take"):
        few_shot.draw_subset(
            registry.read_dataset("emoji-things"),
            DataSpec("emoji-things", shots=16, val_shots=1),
            1,
        )


def test_short_classes_may_be_taken_whole_as_coop_does() -> None:
    t = registry.read_dataset("emoji-things")
    spec = DataSpec("emoji-things", shots=16, val_shots=1, short_classes="take")
    drawn = few_shot.draw_subset(t, spec, 1)
    assert len(drawn.train) == (t.split == "train").sum()


@pytest.mark.parametrize(("classes", "base"), [(2, 1), (5, 3), (10, 5), (149, 75)])
def test_base_is_the_first_half_of_the_labels_rounded_up(classes: int, base: int) -> None:
    plan = protocols.split_classes("base_to_novel", classes)
    assert plan.train.classes == plan.tests[0].classes == tuple(range(base))
    assert plan.tests[1].classes == tuple(range(base, classes))


def test_the_harmonic_mean_of_the_published_averages() -> None:
    assert protocols.harmonic_mean(69.34, 74.22) == pytest.approx(71.70, abs=0.005)
    assert protocols.harmonic_mean(84.26, 76.10) == pytest.approx(79.97, abs=0.005)
    assert protocols.harmonic_mean(0.0, 0.0) == 0.0
