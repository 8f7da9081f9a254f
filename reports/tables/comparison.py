"""A comparison as tables for the terminal, Markdown, CSV and JSON."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from reports.analyses.comparison import Comparison, DatasetComparison
from reports.tables.leaderboard import LABELS, MISSING
from reports.tables.sentence import comparison_sentence

PAIR_COLUMNS = [
    "first",
    "second",
    "difference",
    "95 %, these data sets",
    "p",
    "95 %, data sets like these",
    "p ",
    "better/same/worse",
    "Wilcoxon p",
    "effect",
    "parameters",
    "seeds",
    "data sets",
]
OPTIONAL_COLUMNS = ("effect", "Wilcoxon p", "parameters", "better/same/worse")
DATASET_COLUMNS = [
    "first",
    "second",
    "data set",
    "difference",
    "95 %",
    "p (one test)",
    "seeds",
    "images",
    "95 % of images alone",
    "only first right",
    "only second right",
    "McNemar p",
]


def pair_rows(found: Sequence[Comparison]) -> list[list[str]]:
    """A line a pair, under HEADS."""
    return [
        [
            c.paired.a.name,
            c.paired.b.name,
            f"{c.value:+.2f}",
            interval_text(c.seeds.low, c.seeds.high),
            p_text(c.seeds_holm),
            interval_text(c.datasets.low, c.datasets.high),
            p_text(c.datasets_holm),
            "/".join(str(n) for n in c.wins),
            p_text(c.wilcoxon_holm),
            MISSING if math.isnan(c.effect) else f"{c.effect:+.2f}",
            ratio_text(*c.trainable),
            str(c.paired.seeds),
            str(len(c.each)),
        ]
        for c in found
    ]


def dataset_rows(found: Sequence[Comparison]) -> list[list[str]]:
    """A line a pair and data set, under EACH."""
    return [[c.paired.a.name, c.paired.b.name, *_each(e)] for c in found for e in c.each]


def _each(e: DatasetComparison) -> list[str]:
    m = e.mcnemar
    half = 1.96 * e.item_error  # thousands of images: the normal is right here
    return [
        e.dataset,
        f"{e.estimate.mean:+.2f}",
        interval_text(e.estimate.low, e.estimate.high),
        p_text(e.p),
        str(e.estimate.n),
        str(m.images) if m else MISSING,
        interval_text(e.estimate.mean - half, e.estimate.mean + half),
        str(m.a) if m else MISSING,
        str(m.b) if m else MISSING,
        p_text(e.mcnemar_holm) + (" (exact)" if m and m.exact else ""),
    ]


def comparison_notes(found: Sequence[Comparison]) -> list[str]:
    """What the numbers are, and what could not be compared."""
    label = LABELS.get(found[0].metric, found[0].metric)
    notes = [
        f"difference: first minus second in points of {label}, on the same data sets and seeds",
        "these data sets: noise of seeds alone; data sets like these: data sets drawn anew as well;"
        " both by a paired bootstrap with Student's t",
        "McNemar: the same test images, all seeds; blind to the noise of training"
        if any(e.mcnemar for c in found for e in c.each)
        else "no McNemar: predictions are not stored for all of these runs",
    ]
    if len(found) > 1:
        notes.append(f"p-values are Holm's, for {len(found)} comparisons made together")
    if any(math.isnan(c.wilcoxon) for c in found):
        notes.append("Wilcoxon over data sets needs six of them to show anything")
    return [*notes, *dict.fromkeys(note for c in found for note in c.paired.notes)]


def pairs_table(found: Sequence[Comparison]) -> pd.DataFrame:
    """A row a pair in full precision."""
    return pd.DataFrame([_record(c) for c in found])


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


def datasets_table(found: Sequence[Comparison]) -> pd.DataFrame:
    """A row a pair and data set in full precision, with the runs it was computed from."""
    return pd.DataFrame([_dataset_record(c, e) for c in found for e in c.each])


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


def comparison_markdown(found: Sequence[Comparison], title: str) -> str:
    """Sentences, then the tables, then what they mean."""
    lines = [f"# Comparison: {title}", "", *(f"- {comparison_sentence(c)}" for c in found), ""]
    lines += [
        *_md(PAIR_COLUMNS, pair_rows(found)),
        "",
        *_md(DATASET_COLUMNS, dataset_rows(found)),
        "",
    ]
    return "\n".join([*lines, *(f"- {note}" for note in comparison_notes(found))]) + "\n"


def comparison_files(found: Sequence[Comparison], title: str) -> dict[str, str]:
    """compare.md, compare.csv (pairs) and compare-datasets.csv."""
    return {
        "compare.md": comparison_markdown(found, title),
        "compare.csv": pairs_table(found).to_csv(index=False, lineterminator="\n"),
        "compare-datasets.csv": datasets_table(found).to_csv(index=False, lineterminator="\n"),
    }


def comparison_records(found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """As JSON: a record a pair, its data sets inside; what is unknown is None."""
    each = _plain(datasets_table(found))
    pairs = _plain(pairs_table(found))
    for row in pairs:
        names = (row["first"], row["second"])
        row["datasets"] = [e for e in each if (e["first"], e["second"]) == names]
    return pairs


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    kept = table.astype(object)
    found: list[dict[str, Any]] = kept.where(kept.notna(), None).to_dict("records")
    return found


def interval_text(low: float, high: float) -> str:
    return MISSING if math.isnan(low) else f"{low:+.2f} to {high:+.2f}"


def p_text(p: float) -> str:
    if math.isnan(p):
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def ratio_text(mine: float, other: float) -> str:
    """Trainable parameters of the first as a multiple of the second's."""
    if math.isnan(mine) or math.isnan(other):
        return MISSING
    if other == 0:
        return "both none" if mine == 0 else "second none"
    return f"{mine / other:.3g}x"


def _md(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(h.strip() for h in heads) + " |", "|" + "---|" * len(heads)]
    return lines + ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells]
