"""Two methods on the same test images: McNemar's test and the noise of the choice of images."""

import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import special

from reports.statistics.bootstrap import part_slopes

EXACT_BELOW = 25  # discordant images
FetchPredictions = Callable[[str], bytes | None]  # from an MLflow id to predictions.parquet


class McNemar(NamedTuple):
    """The result of a test.

    ``a`` and ``b`` count how often only the first or only the second method is right, over all
    seeds. ``images`` and ``discordant`` count images; ``exact`` says which test gave ``p``.
    """

    images: int
    seeds: int
    a: int
    b: int
    discordant: int
    p: float
    exact: bool


def correct_answers(file: bytes, parts: Sequence[str]) -> pd.Series:
    """Return 1 or 0 for each image of the test parts (base, novel, test), by (part, image)."""
    return _correct_answers(file, tuple(parts))


@lru_cache(maxsize=512)  # many comparisons have one side in common
def _correct_answers(file: bytes, parts: tuple[str, ...]) -> pd.Series:
    table = pq.read_table(io.BytesIO(file), columns=["part", "image", "label", "predicted"])
    label, predicted = (table[name].cast(pa.string()) for name in ("label", "predicted"))
    correct = pc.equal(label, predicted).cast(pa.float64()).to_numpy()
    rows = [table["part"].cast(pa.string()).to_numpy(), table["image"].to_numpy()]
    answers = pd.Series(correct, index=pd.MultiIndex.from_arrays(rows, names=("part", "image")))
    return answers[np.isin(rows[0], parts)].sort_index()


def answer_matrices(
    pairs: Sequence[tuple[str, str]], parts: Sequence[str], fetch: FetchPredictions
) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Return right (1) and wrong (0) answers of both methods, a row per image, a column per seed.

    ``pairs`` are the MLflow ids of both methods' runs, a pair per seed. None where a run has no
    stored predictions.
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
    """Test (image, seed) arrays of right (1) and wrong (0) answers.

    With one seed it is the usual test, exact below 25 discordant images. Several seeds answer the
    same images, which are then clusters of one size (Durkalski et al., 2003): the sum of the
    images' differences over the root of their sum of squares is a standard normal; below 25
    discordant images all changes of their signs are counted instead.
    """
    from statsmodels.stats.contingency_tables import mcnemar  # slow to import

    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    change = (a - b).sum(1)
    moved = change[change != 0].astype(int)
    exact = len(moved) < EXACT_BELOW
    if not len(moved):
        p = 1.0
    elif a.shape[1] == 1:
        p = float(mcnemar([[0, only_a], [only_b, 0]], exact=exact, correction=True).pvalue)
    elif exact:
        p = sign_flips(moved)
    else:
        p = float(2 * special.ndtr(-abs(moved.sum()) / np.sqrt((moved**2).sum())))
    return McNemar(len(a), a.shape[1], only_a, only_b, len(moved), p, exact)


def sign_flips(change: np.ndarray) -> float:
    """Return how often whole numbers with random signs have a sum as far from 0; exact."""
    size = int(np.abs(change).sum())
    probability = np.zeros(2 * size + 1)  # of each sum from -size to size
    probability[size] = 1.0
    for step in np.abs(change):
        probability = 0.5 * (np.roll(probability, step) + np.roll(probability, -step))
    sums = np.arange(-size, size + 1)
    return float(min(1.0, probability[np.abs(sums) >= abs(int(change.sum()))].sum()))


def image_standard_error(a: pd.DataFrame, b: pd.DataFrame, parts: Sequence[str]) -> float:
    """Return the standard error, in points, of a score difference due to the choice of images.

    Seeds are fixed: their mean answer to an image is one number. With two parts the score is the
    harmonic mean, made linear at the measured accuracies (delta method).
    """
    slopes = [part_slopes([float(x.loc[p].to_numpy().mean()) for p in parts]) for x in (a, b)]
    variance = 0.0
    for i, part in enumerate(parts):
        change = slopes[0][i] * a.loc[part].mean(axis=1) - slopes[1][i] * b.loc[part].mean(axis=1)
        variance += float(change.var(ddof=1)) / len(change)
    return 100 * float(np.sqrt(variance))
