"""Tables of a sweep: its front, maps over settings, importances, best values, tuning curves."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from methods.kit.core.errors import UsageError, unknown
from reports.results.sweep_results import Sweep
from reports.statistics.dominance import front_of_pairs

LEARNING_RATE = "train.lr"
MARGIN = 0.1  # of each range: how far the plane extends beyond the worst trial
MAP_LIMIT = 16  # values of a key above which a map is not readable


def front_table(sweep: Sweep, cost: str, quality: str) -> pd.DataFrame:
    """Return complete trials with settings, place on the front and hypervolume so far.

    Raises UsageError for a quantity that the trials do not have.
    """
    table = sweep.complete
    there = [c for c in table.columns if "/" in c and not c.startswith("data")]
    for name in (cost, quality):
        if name not in there:
            raise unknown(f"metric {name!r}", name, there)
    pairs = list(zip(table[cost], table[quality], strict=True))
    front = front_of_pairs(pairs)
    shown = table[["order", "number", *sweep.keys, cost, quality]].copy()
    shown["front"] = [i in front for i in range(len(pairs))]
    shown["hypervolume"] = [hypervolume(pairs[: i + 1], pairs) for i in range(len(pairs))]
    return shown


def hypervolume(
    pairs: Sequence[tuple[float, float]], whole: Sequence[tuple[float, float]]
) -> float:
    """Return the share of the plane that (cost, quality) pairs dominate, with logarithmic cost.

    The plane spans all pairs of ``whole`` and a tenth of each range beyond the worst of them (as
    in ``dominated_share``), or the most expensive trial would add nothing. The share is 1 for the
    best quality at the lowest cost.
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
    """Return the keys of a map: those with few tried values, most of them on the grid.

    The two most important ones if there are more; None if there are fewer than two.
    """
    importance = sweep.facts["importances"]
    keys = [key for key in sweep.keys if _on_grid(sweep, key)]
    if len(keys) > 2:
        keys.sort(key=lambda key: -importance.get(key, 0.0))
    return (keys[0], keys[1]) if len(keys) >= 2 else None


def chosen_keys(sweep: Sweep, words: str) -> tuple[str, str]:
    """Return the two keys that ``--map`` names. Raises UsageError."""
    keys = [_find_key(sweep, "--map", word.strip()) for word in words.split(",")]
    if len(set(keys)) != 2:
        raise UsageError(f"--map {words!r}: expected two keys of {', '.join(sweep.keys)}")
    for key in keys:
        if sweep.complete[key].nunique() > MAP_LIMIT:
            raise UsageError(f"--map {key}: has more than {MAP_LIMIT} values; use --sampler grid")
    return keys[0], keys[1]


def map_table(sweep: Sweep, keys: tuple[str, str]) -> pd.DataFrame:
    """Return the best value in each cell of two keys, and the number of its trials."""
    better = "max" if sweep.quality.startswith("acc/") else "min"
    grouped = sweep.complete.groupby(list(keys), dropna=False)[sweep.quality]
    return grouped.agg([better, "count"]).reset_index().rename(columns={better: sweep.quality})


def map_values(sweep: Sweep, key: str) -> list[Any]:
    """Return the values of a key in a map: those of the grid and any other that was tried."""
    tried = [plain_value(v) for v in sweep.complete[key].unique()]
    planned = _grid(sweep, key)
    on_grid = {str(v) for v in planned}
    values = [*planned, *(v for v in tried if str(v) not in on_grid)]
    return values if any(isinstance(v, str) for v in values) else sorted(values)


def best_key(sweep: Sweep, word: str | None) -> str | None:
    """Return the key whose best value is shown for each setting of the others.

    The one that ``--best`` names, else the learning rate where a grid has one. Raises UsageError.
    """
    if word is not None:
        if len(sweep.keys) < 2:
            raise UsageError(f"--best {word}: the sweep has no other key")
        return _find_key(sweep, "--best", word)
    whole = len(sweep.keys) > 1 and all(_on_grid(sweep, key) for key in sweep.keys)
    return LEARNING_RATE if LEARNING_RATE in sweep.keys and whole else None


def best_table(sweep: Sweep, key: str) -> pd.DataFrame:
    """Return for each setting of the other keys the value of ``key`` with the best result.

    Of equal values the least counts. ``lead`` is the distance to the next value, ``tried`` the
    number of values.
    """
    others = [k for k in sweep.keys if k != key]
    maximize = sweep.quality.startswith("acc/")
    rows = []
    for setting, trials in sweep.complete.groupby(others, dropna=False):
        by_value = trials.groupby(key, dropna=False)[sweep.quality]
        reached = (by_value.max() if maximize else -by_value.min()).sort_index()
        order = reached.sort_values(ascending=False, kind="stable")
        lead = order.iloc[0] - order.iloc[1] if len(order) > 1 else math.nan
        rows.append([*setting, order.index[0], abs(order.iloc[0]), lead, len(order)])
    return pd.DataFrame(rows, columns=[*others, key, sweep.quality, "lead", "tried"])


def importances(sweep: Sweep) -> pd.DataFrame:
    """Return the importance of each key, the largest first."""
    rows = sorted(sweep.facts["importances"].items(), key=lambda item: (-item[1], item[0]))
    return pd.DataFrame(rows, columns=["key", "importance"])


def tuning_curve(sweep: Sweep, label: str) -> pd.DataFrame:
    """Return the best so far against trials and their seconds; rejected trials cost nothing."""
    table = sweep.trials[~sweep.trials["end"].isin(["capped", "refused"])]
    objective = sweep.facts["objectives"][0]
    values = table[objective].where(table["end"] == "complete")
    maximize = sweep.facts["directions"][0] == "maximize"
    best = values.cummax() if maximize else values.cummin()
    columns = {
        "method": label,
        "trial": range(1, len(table) + 1),
        "seconds": table["seconds"].cumsum().round(3).to_numpy(),
        objective: values.to_numpy(),
        "best": best.ffill().to_numpy(),
    }
    return pd.DataFrame(columns)


def plain_value(value: Any) -> Any:
    """Return a cell as a plain Python value; whole numbers as integers."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _on_grid(sweep: Sweep, key: str) -> bool:
    if sweep.complete[key].isna().any():  # searched in some trials only
        return False
    tried = {str(plain_value(v)) for v in sweep.complete[key].unique()}
    planned = {str(v) for v in _grid(sweep, key)}
    return 1 < len(tried) <= MAP_LIMIT and 2 * len(tried & planned) >= len(tried)


def _grid(sweep: Sweep, key: str) -> list[Any]:
    """Return the grid of a key; lists as the text that they are in a table."""
    return [json.dumps(v) if isinstance(v, list) else v for v in sweep.facts["grid"][key]]


def _find_key(sweep: Sweep, option: str, word: str) -> str:
    key = word if word in sweep.keys else f"method.{word}"
    if key not in sweep.keys:
        raise unknown(f"{option} {word!r}", word, sweep.keys)
    return key
