"""``ringbench data fewshot``: subsets are drawn, written, read back and compared."""

from collections.abc import Iterator, Sequence
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
    """Two subsets of as many shots that differ in rule or seed, and what they share, per cent."""

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
    """Every subset of the grid, kept as a file. Raises UsageError."""
    found = []
    for name in _expanded(names):
        table = registry.read_dataset(name, root)
        for k, rule, seed in product(counts, rules, seeds):
            spec = _spec(name, rule, k, val_shots)
            drawn = few_shot.draw_subset(table, spec, seed)
            path, written = subset_files.store_subset(table, spec, seed, drawn)
            found.append(StoredSubset(name, rule, k, seed, drawn, path, written))
    return found


def compare_subsets(found: Sequence[StoredSubset]) -> list[SubsetPair]:
    """Two rules under the same seed, and two seeds under the same rule."""
    return [
        SubsetPair(
            a.data,
            a.shots,
            f"{a.rule}, seed {a.seed}",
            f"{b.rule}, seed {b.seed}",
            subset_files.overlap(a.drawn.train.tolist(), b.drawn.train.tolist()),
            subset_files.overlap(a.drawn.val.tolist(), b.drawn.val.tolist()),
        )
        for a, b in combinations(found, 2)
        if (a.data, a.shots) == (b.data, b.shots) and (a.rule == b.rule) != (a.seed == b.seed)
    ]


def parse_rules(text: str) -> list[str]:
    """``coop,clip_lora`` as rules. Raises UsageError."""
    found = [word.strip() for word in text.split(",") if word.strip()]
    for word in found:
        if word not in RULES:
            raise unknown(f"--rules {word!r}", word, RULES)
    return list(dict.fromkeys(found)) or list(RULES[:1])


def _expanded(names: Sequence[str]) -> Iterator[str]:
    known = registry.set_collections()
    words = [part for name in names for part in name.split(",") if part]
    yield from dict.fromkeys(canonical_name(n) for w in words for n in known.get(w, (w,)))


def _spec(name: str, rule: str, k: int, val_shots: int | None) -> DataSpec:
    values = {**registry.default_settings(name), "name": name, "shots": k, "subset": rule}
    if val_shots is not None:
        values["val_shots"] = val_shots
    spec: DataSpec = check_part("data", DataSpec, values)
    return spec
