"""What a sweep found: its front, maps over settings, importances and curves."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from methods.kit.core.errors import UsageError, unknown
from reports.results.sweeps import Sweep
from reports.statistics.dominance import front_of_pairs

LEARNING_RATE = "train.lr"
MARGIN = 0.1  # of a range: how far the plane reaches beyond the worst trial
MAP_LIMIT = 16  # values of a key beyond which a map would be dust


# --- tables ------------------------------------------------------------------------------------


def front_table(sweep: Sweep, cost: str, quality: str) -> pd.DataFrame:
    """Complete trials with their settings, whether they are on the front, and the share of the
    accuracy-cost plane that was dominated by then."""
    table = sweep.complete
    check_metrics(table, cost, quality)
    pairs = list(zip(table[cost], table[quality], strict=True))
    kept = front_of_pairs(pairs)
    shown = table[["order", "number", *sweep.keys, cost, quality]].copy()
    shown["front"] = [i in kept for i in range(len(pairs))]
    shown["hypervolume"] = [hypervolume(pairs[: i + 1], pairs) for i in range(len(pairs))]
    return shown


def hypervolume(
    pairs: Sequence[tuple[float, float]], whole: Sequence[tuple[float, float]]
) -> float:
    """The share of the plane that (cost, quality) pairs dominate, cost on a logarithmic axis.

    The plane spans all pairs of ``whole`` and a tenth of its range beyond the worst of each, as
    in reports/analyses/dominated_share.py: else the dearest trial would add nothing, however good.
    1 would be the best quality at the least cost.
    """
    costs, values = [math.log10(1 + c) for c, _ in whole], [q for _, q in whole]
    left, high = min(costs), max(values)
    right = max(costs) + MARGIN * ((max(costs) - left) or 1)
    low = min(values) - MARGIN * ((high - min(values)) or 1)
    area, best = 0.0, low
    for i in sorted(front_of_pairs(pairs), key=lambda i: pairs[i]):
        cost, quality = pairs[i]
        area += (right - math.log10(1 + cost)) * max(0.0, quality - best)
        best = max(best, quality)
    return area / ((right - left) * (high - low))


def map_keys(sweep: Sweep) -> tuple[str, str] | None:
    """Two keys to draw a map over: those tried on few values, most of them on the grid.

    Of more than two the most important ones; None when there are not two.
    """
    weight = sweep.facts["importances"]
    few = [key for key in sweep.keys if _on_grid(sweep, key)]
    if len(few) > 2:
        few.sort(key=lambda key: -weight.get(key, 0.0))
    return (few[0], few[1]) if len(few) >= 2 else None


def _on_grid(sweep: Sweep, key: str) -> bool:
    if sweep.complete[key].isna().any():  # searched in some trials only
        return False
    tried = {str(plain_value(v)) for v in sweep.complete[key].unique()}
    planned = {str(v) for v in _planned(sweep, key)}
    return 1 < len(tried) <= MAP_LIMIT and 2 * len(tried & planned) >= len(tried)


def _planned(sweep: Sweep, key: str) -> list[Any]:
    """The grid of a key, lists as the text that they are in a table."""
    return [json.dumps(v) if isinstance(v, list) else v for v in sweep.facts["grid"][key]]


def map_table(sweep: Sweep, keys: tuple[str, str]) -> pd.DataFrame:
    """The best value in each cell of two keys, with how many trials it holds."""
    better = "max" if sweep.quality.startswith("acc/") else "min"
    grouped = sweep.complete.groupby(list(keys), dropna=False)[sweep.quality]
    return grouped.agg([better, "count"]).reset_index().rename(columns={better: sweep.quality})


def map_values(sweep: Sweep, key: str) -> list[Any]:
    """The values that a map shows of a key: those of its grid and any other that was tried."""
    tried = [plain_value(v) for v in sweep.complete[key].unique()]
    known = _planned(sweep, key)
    shown = {str(v) for v in known}
    values = [*known, *(v for v in tried if str(v) not in shown)]
    return values if any(isinstance(v, str) for v in values) else sorted(values)


def chosen_keys(sweep: Sweep, words: str) -> tuple[str, str]:
    """Two keys that a map was asked for, ``method.`` left out or not. Raises UsageError."""
    found = [_key(sweep, "--map", word.strip()) for word in words.split(",")]
    if len(set(found)) != 2:
        raise UsageError(f"--map {words!r}: expected two keys of {', '.join(sweep.keys)}")
    for key in found:
        if sweep.complete[key].nunique() > MAP_LIMIT:
            raise UsageError(f"--map {key}: has more than {MAP_LIMIT} values; use --sampler grid")
    return found[0], found[1]


def best_key(sweep: Sweep, word: str | None) -> str | None:
    """The key whose best value is shown for each setting of the others: the learning rate where a
    grid has one, or the one asked for. Raises UsageError."""
    if word is not None:
        if len(sweep.keys) < 2:
            raise UsageError(f"--best {word}: the sweep has no other key")
        return _key(sweep, "--best", word)
    whole = len(sweep.keys) > 1 and all(_on_grid(sweep, key) for key in sweep.keys)
    return LEARNING_RATE if LEARNING_RATE in sweep.keys and whole else None


def best_table(sweep: Sweep, key: str) -> pd.DataFrame:
    """For each setting of the other keys: the value of ``key`` that did best (of equal ones the
    least), what it reached, how far the next one is behind, and how many were tried."""
    others = [k for k in sweep.keys if k != key]
    up = sweep.quality.startswith("acc/")
    rows = []
    for setting, trials in sweep.complete.groupby(others, dropna=False):
        each = trials.groupby(key, dropna=False)[sweep.quality]
        reached = (each.max() if up else -each.min()).sort_index()
        order = reached.sort_values(ascending=False, kind="stable")
        lead = order.iloc[0] - order.iloc[1] if len(order) > 1 else math.nan
        rows.append([*setting, order.index[0], abs(order.iloc[0]), lead, len(order)])
    return pd.DataFrame(rows, columns=[*others, key, sweep.quality, "lead", "tried"])


def importances(sweep: Sweep) -> pd.DataFrame:
    rows = sorted(sweep.facts["importances"].items(), key=lambda item: (-item[1], item[0]))
    return pd.DataFrame(rows, columns=["key", "importance"])


def tuning_curve(sweep: Sweep, label: str) -> pd.DataFrame:
    """Best so far against budget: trials and the seconds they took; free ones are not counted."""
    table = sweep.trials[~sweep.trials["end"].isin(["capped", "refused"])]
    aim = sweep.facts["objectives"][0]
    values = table[aim].where(table["end"] == "complete")
    up = sweep.facts["directions"][0] == "maximize"
    best = values.cummax() if up else values.cummin()
    return pd.DataFrame(
        {
            "method": label,
            "trial": range(1, len(table) + 1),
            "seconds": table["seconds"].cumsum().round(3).to_numpy(),
            aim: values.to_numpy(),
            "best": best.ffill().to_numpy(),
        }
    )


def plain_value(value: Any) -> Any:
    """A cell as a plain Python value; whole numbers as such."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def check_metrics(table: pd.DataFrame, *wanted: str) -> None:
    """Raises UsageError for a quantity that the sweep did not keep."""
    there = [c for c in table.columns if "/" in c and not c.startswith("data")]
    for name in wanted:
        if name not in there:
            raise unknown(f"metric {name!r}", name, there)


def _key(sweep: Sweep, option: str, word: str) -> str:
    """A key of the sweep. Raises UsageError."""
    key = word if word in sweep.keys else f"method.{word}"
    if key not in sweep.keys:
        raise unknown(f"{option} {word!r}", word, sweep.keys)
    return key
