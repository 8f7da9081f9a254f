"""``ringbench data fewshot``: draws, stores, verifies and compares few-shot subsets."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import get_args, get_type_hints

from harness.data import few_shot, registry, subset_files
from harness.data.few_shot import FewShotSubset
from harness.data.public_sets import canonical_name
from harness.spec.spec import DataSpec
from methods.kit.core.errors import unknown
from methods.kit.core.field_values import check_part

RULES: tuple[str, ...] = get_args(get_type_hints(DataSpec)["subset"])


@dataclass(frozen=True)
class StoredSubset:
    """One subset on disk."""

    data: str
    rule: str
    shots: int
    seed: int
    drawn: FewShotSubset
    file: Path
    written: bool  # just now; else it was there and is what the rule draws

    @property
    def state(self) -> str:
        return "written" if self.written else "as drawn"


@dataclass(frozen=True)
class SubsetPair:
    """Two subsets with equal shots that differ in rule or seed, and the images they share in %."""

    data: str
    shots: int
    one: str
    other: str
    train: float
    val: float


def store_subsets(
    names: Sequence[str],
    rules: Sequence[str],
    counts: Sequence[int],
    seeds: Sequence[int],
    val_shots: int | None = None,
    root: str = "",
) -> list[StoredSubset]:
    """Draw and store every subset of the grid. Raises UsageError."""
    known = registry.set_collections()
    words = [part for name in names for part in name.split(",") if part]
    sets = dict.fromkeys(canonical_name(n) for w in words for n in known.get(w, (w,)))
    given = {} if val_shots is None else {"val_shots": val_shots}
    stored = []
    for name, k, rule, seed in product(sets, counts, rules, seeds):
        table = registry.read_dataset(name, root)
        values = registry.default_settings(name) | {"name": name, "shots": k, "subset": rule}
        spec: DataSpec = check_part("data", DataSpec, values | given)
        drawn = few_shot.draw_subset(table, spec, seed)
        path, written = subset_files.store_subset(table, spec, seed, drawn)
        stored.append(StoredSubset(name, rule, k, seed, drawn, path, written))
    return stored


def compare_subsets(subsets: Sequence[StoredSubset]) -> list[SubsetPair]:
    """Compare two rules under the same seed, and two seeds under the same rule."""
    return [
        SubsetPair(
            a.data,
            a.shots,
            f"{a.rule}, seed {a.seed}",
            f"{b.rule}, seed {b.seed}",
            _shared(a.drawn.train.tolist(), b.drawn.train.tolist()),
            _shared(a.drawn.val.tolist(), b.drawn.val.tolist()),
        )
        for a, b in combinations(subsets, 2)
        if (a.data, a.shots) == (b.data, b.shots) and (a.rule == b.rule) != (a.seed == b.seed)
    ]


def _shared(one: Sequence[int], other: Sequence[int]) -> float:
    """Return the images that two subsets share, in % of the larger one; images count once."""
    a, b = set(one), set(other)
    return 100 * len(a & b) / max(len(a), len(b)) if a and b else 0.0


def parse_rules(text: str) -> list[str]:
    """Return the rules of ``coop,clip_lora``. Raises UsageError."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in RULES:
            raise unknown(f"--rules {word!r}", word, RULES)
    return list(dict.fromkeys(words)) or list(RULES[:1])
