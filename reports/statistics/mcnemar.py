"""Two methods on the same test images: who is right where the other is wrong."""

import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import stats

FEW = 25  # discordant images below which a test is exact
FetchPredictions = Callable[[str], bytes | None]  # from a run's id to its predictions.parquet


class McNemar(NamedTuple):
    """``a`` and ``b``: how often only the first or only the second is right, over all seeds.

    ``images`` and ``discordant`` count images; ``exact`` says which test gave ``p``.
    """

    images: int
    seeds: int
    a: int
    b: int
    discordant: int
    p: float
    exact: bool


def correct_answers(file: bytes, parts: Sequence[str]) -> pd.Series:
    """Whether each image of the parts (base, novel, test) is told right, by (part, image)."""
    return _right(file, tuple(parts))


@lru_cache(maxsize=512)  # of many comparisons one side is always the same
def _right(file: bytes, parts: tuple[str, ...]) -> pd.Series:
    table = pq.read_table(io.BytesIO(file), columns=["part", "image", "label", "predicted"])
    label, predicted = (table[name].cast(pa.string()) for name in ("label", "predicted"))
    same = pc.equal(label, predicted).cast(pa.float64()).to_numpy()
    rows = [table["part"].cast(pa.string()).to_numpy(), table["image"].to_numpy()]
    found = pd.Series(same, index=pd.MultiIndex.from_arrays(rows, names=("part", "image")))
    return found[np.isin(rows[0], parts)].sort_index()


def answer_matrices(
    pairs: Sequence[tuple[str, str]], parts: Sequence[str], fetch: FetchPredictions
) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Both methods' right (1) and wrong (0) answers, a row an image, a column a seed.

    ``pairs`` are run ids, a pair a seed. None where predictions are not stored for every run.
    """
    sides = []
    for side in (0, 1):
        files = [fetch(pair[side]) for pair in pairs]
        stored = [f for f in files if f is not None]
        if not stored or len(stored) < len(files):
            return None
        sides.append(pd.concat([correct_answers(f, parts) for f in stored], axis=1, join="inner"))
    both = sides[0].index.intersection(sides[1].index)
    return sides[0].loc[both], sides[1].loc[both]


def mcnemar_test(a: np.ndarray, b: np.ndarray) -> McNemar:
    """McNemar's test on (image, seed) arrays of right (1) and wrong (0) answers.

    One seed: the usual one, exact below 25 discordant images. Several seeds answer the same images,
    which are then the clusters, of one size (Durkalski et al., 2003): the sum of the images'
    differences over the root of their sum of squares is a standard normal; below 25 discordant
    images all changes of their signs are counted instead.
    """
    from statsmodels.stats.contingency_tables import mcnemar as plain  # slow to import

    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    change = (a - b).sum(1)
    moved = change[change != 0].astype(int)
    few = len(moved) < FEW
    if not len(moved):
        p = 1.0
    elif a.shape[1] == 1:
        p = float(plain([[0, only_a], [only_b, 0]], exact=few, correction=True).pvalue)
    elif few:
        p = sign_flips(moved)
    else:
        p = float(2 * stats.norm.sf(abs(moved.sum()) / np.sqrt((moved**2).sum())))
    return McNemar(len(a), a.shape[1], only_a, only_b, len(moved), p, few)


def sign_flips(change: np.ndarray) -> float:
    """How often a sum of whole numbers with random signs is as far from 0 as theirs; exact."""
    size = int(np.abs(change).sum())
    chance = np.zeros(2 * size + 1)  # of each sum from -size to size
    chance[size] = 1.0
    for step in np.abs(change):
        chance = 0.5 * (np.roll(chance, step) + np.roll(chance, -step))
    sums = np.arange(-size, size + 1)
    return float(min(1.0, chance[np.abs(sums) >= abs(int(change.sum()))].sum()))


def image_standard_error(a: pd.DataFrame, b: pd.DataFrame, parts: Sequence[str]) -> float:
    """Standard error, in points, of the difference of scores were the test images others.

    The seeds stay as they are: their mean answer to an image is one number. With two parts the
    score is the harmonic mean, made linear at the accuracies found (delta method).
    """
    weights = [part_slopes([float(x.loc[p].to_numpy().mean()) for p in parts]) for x in (a, b)]
    variance = 0.0
    for i, part in enumerate(parts):
        mine, other = a.loc[part].mean(axis=1), b.loc[part].mean(axis=1)
        change = weights[0][i] * mine - weights[1][i] * other
        variance += float(change.var(ddof=1)) / len(change)
    return 100 * float(np.sqrt(variance))


def part_slopes(accuracies: Sequence[float]) -> list[float]:
    """How much the score moves with each part's accuracy (a share of 1)."""
    if len(accuracies) == 1:
        return [1.0]
    base, novel = accuracies
    total = base + novel
    return [2 * novel**2 / total**2, 2 * base**2 / total**2] if total else [0.0, 0.0]
