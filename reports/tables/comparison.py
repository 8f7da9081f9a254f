"""A comparison as tables: terminal, Markdown, CSV and JSON."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from reports.analyses.comparison import Comparison, DatasetComparison
from reports.tables.columns import MISSING, column_label
from reports.tables.leaderboard import markdown_table, plain_records
from reports.tables.sentence import comparison_sentence

OPTIONAL_COLUMNS = ("effect", "Wilcoxon p", "parameters", "better/same/worse")


def interval_text(low: float, high: float) -> str:
    return MISSING if math.isnan(low) else f"{low:+.2f} to {high:+.2f}"


def p_text(p: float) -> str:
    if math.isnan(p):
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def ratio_text(first: float, second: float) -> str:
    """Return the first's trainable parameters as a multiple of the second's."""
    if math.isnan(first) or math.isnan(second):
        return MISSING
    if second == 0:
        return "both none" if first == 0 else "second none"
    return f"{first / second:.3g}x"


_PAIR: dict[str, Callable[[Comparison], str]] = {
    "first": lambda c: c.paired.a.name,
    "second": lambda c: c.paired.b.name,
    "difference": lambda c: f"{c.value:+.2f}",
    "95 %, these data sets": lambda c: interval_text(c.seeds.low, c.seeds.high),
    "p": lambda c: p_text(c.seeds_holm),
    "95 %, data sets like these": lambda c: interval_text(c.datasets.low, c.datasets.high),
    "p ": lambda c: p_text(c.datasets_holm),
    "better/same/worse": lambda c: "/".join(str(n) for n in c.wins),
    "Wilcoxon p": lambda c: p_text(c.wilcoxon_holm),
    "effect": lambda c: MISSING if math.isnan(c.effect) else f"{c.effect:+.2f}",
    "parameters": lambda c: ratio_text(*c.trainable),
    "seeds": lambda c: str(c.paired.seeds),
    "data sets": lambda c: str(len(c.each)),
}
_DATASET: dict[str, Callable[[DatasetComparison], str]] = {
    "data set": lambda e: e.dataset,
    "difference": lambda e: f"{e.estimate.mean:+.2f}",
    "95 %": lambda e: interval_text(e.estimate.low, e.estimate.high),
    "p (one test)": lambda e: p_text(e.p),
    "seeds": lambda e: str(e.estimate.n),
    "images": lambda e: str(e.mcnemar.images) if e.mcnemar else MISSING,
    "95 % of images alone": lambda e: _image_interval(e),
    "only first right": lambda e: str(e.mcnemar.a) if e.mcnemar else MISSING,
    "only second right": lambda e: str(e.mcnemar.b) if e.mcnemar else MISSING,
    "McNemar p": lambda e: (
        p_text(e.mcnemar_holm) + (" (exact)" if e.mcnemar and e.mcnemar.exact else "")
    ),
}
PAIR_COLUMNS = list(_PAIR)
DATASET_COLUMNS = ["first", "second", *_DATASET]


def _image_interval(e: DatasetComparison) -> str:
    half = 1.96 * e.item_error  # there are thousands of images: the normal is right
    return interval_text(e.estimate.mean - half, e.estimate.mean + half)


def pair_rows(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """Return a row per pair, under PAIR_COLUMNS."""
    return [[write(c) for write in _PAIR.values()] for c in comparisons]


def dataset_rows(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """Return a row per pair and data set, under DATASET_COLUMNS."""
    return [
        [c.paired.a.name, c.paired.b.name, *(write(e) for write in _DATASET.values())]
        for c in comparisons
        for e in c.each
    ]


def comparison_notes(comparisons: Sequence[Comparison]) -> list[str]:
    """Return what the numbers are, and what could not be compared."""
    label = column_label(comparisons[0].metric)
    notes = [
        f"difference: first minus second in points of {label}, on the same data sets and seeds",
        "these data sets: noise of seeds alone; data sets like these: other data sets as well;"
        " both by a paired bootstrap with Student's t",
        "McNemar: the same test images, all seeds; does not measure the noise of training"
        if any(e.mcnemar for c in comparisons for e in c.each)
        else "no McNemar: predictions are not stored for all of these runs",
    ]
    if len(comparisons) > 1:
        notes.append(f"p-values are Holm's, for {len(comparisons)} comparisons made together")
    if any(math.isnan(c.wilcoxon) for c in comparisons):
        notes.append("Wilcoxon over data sets needs six of them to show anything")
    return [*notes, *dict.fromkeys(note for c in comparisons for note in c.paired.notes)]


def pairs_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return a row per pair in full precision."""
    return pd.DataFrame([_record(c) for c in comparisons])


def _record(c: Comparison) -> dict[str, Any]:
    row: dict[str, Any] = {
        "first": c.paired.a.name,
        "second": c.paired.b.name,
        "metric": c.metric,
        "difference": c.value,
    }
    for name, d, corrected in (
        ("seeds", c.seeds, c.seeds_holm),
        ("datasets", c.datasets, c.datasets_holm),
    ):
        row |= {f"{name}_low": d.low, f"{name}_high": d.high, f"{name}_error": d.error}
        row |= {f"{name}_freedom": d.freedom, f"{name}_p": d.p, f"{name}_p_holm": corrected}
    better, same, worse = c.wins
    return row | {
        "n_seeds": c.paired.seeds,
        "n_datasets": len(c.each),
        "n_runs": 2 * len(c.paired.cells),
        "better": better,
        "same": same,
        "worse": worse,
        "wilcoxon_p": c.wilcoxon,
        "wilcoxon_p_holm": c.wilcoxon_holm,
        "effect_hedges_g": c.effect,
        "seeds_for_half_a_point": c.seeds_needed,
        "params/trainable_first": c.trainable[0],
        "params/trainable_second": c.trainable[1],
        "sentence": comparison_sentence(c),
        "left_out": "; ".join(c.paired.notes),
    }


def datasets_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return a row per pair and data set in full precision, with the runs behind it."""
    return pd.DataFrame([_dataset_record(c, e) for c in comparisons for e in c.each])


def _dataset_record(c: Comparison, e: DatasetComparison) -> dict[str, Any]:
    cells = c.paired.cells[c.paired.cells["dataset"] == e.dataset]
    row: dict[str, Any] = {
        "first": c.paired.a.name,
        "second": c.paired.b.name,
        "dataset": e.dataset,
        "metric": c.metric,
        "difference": e.estimate.mean,
        "low": e.estimate.low,
        "high": e.estimate.high,
        "p": e.p,
        "n_seeds": e.estimate.n,
        "item_error": e.item_error,
    }
    m = e.mcnemar
    row |= {
        "n_images": m.images if m else None,
        "only_first_right": m.a if m else None,
        "only_second_right": m.b if m else None,
        "discordant_images": m.discordant if m else None,
        "mcnemar_p": m.p if m else None,
        "mcnemar_p_holm": e.mcnemar_holm,
        "mcnemar_exact": m.exact if m else None,
    }
    return row | {
        "runs_first": " ".join(cells["run_id_a"]),
        "runs_second": " ".join(cells["run_id_b"]),
    }


def comparison_markdown(comparisons: Sequence[Comparison], title: str) -> str:
    """Return sentences, then the tables, then notes."""
    lines = [
        f"# Comparison: {title}",
        "",
        *(f"- {comparison_sentence(c)}" for c in comparisons),
        "",
    ]
    lines += [*markdown_table(PAIR_COLUMNS, pair_rows(comparisons)), ""]
    lines += [*markdown_table(DATASET_COLUMNS, dataset_rows(comparisons)), ""]
    return "\n".join([*lines, *(f"- {note}" for note in comparison_notes(comparisons))]) + "\n"


def comparison_files(comparisons: Sequence[Comparison], title: str) -> dict[str, str]:
    """Return compare.md, compare.csv (pairs) and compare-datasets.csv as texts."""
    return {
        "compare.md": comparison_markdown(comparisons, title),
        "compare.csv": pairs_table(comparisons).to_csv(index=False, lineterminator="\n"),
        "compare-datasets.csv": datasets_table(comparisons).to_csv(
            index=False, lineterminator="\n"
        ),
    }


def comparison_records(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return a record per pair for JSON, with its data sets inside."""
    each = plain_records(datasets_table(comparisons))
    pairs = plain_records(pairs_table(comparisons))
    for row in pairs:
        names = (row["first"], row["second"])
        row["datasets"] = [e for e in each if (e["first"], e["second"]) == names]
    return pairs
