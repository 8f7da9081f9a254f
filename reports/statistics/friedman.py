"""Many methods over many data sets: Friedman's test, Nemenyi's test and the critical distance.

Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 2006.
"""

import math
from dataclasses import dataclass

import pandas as pd

ENOUGH = 5  # methods, and data sets, below which the tests have no power


@dataclass(frozen=True)
class Ranking:
    """The result of the tests.

    ``ranks`` is the mean rank of each method (1 is best), best first. ``p`` is Friedman's, ``p_f``
    Iman and Davenport's. Two methods differ if their ranks are ``distance`` apart. ``nemenyi``
    holds the p of every pair, corrected for all of them.
    """

    ranks: pd.Series
    datasets: int
    chi_squared: float
    p: float
    p_f: float
    distance: float
    nemenyi: pd.DataFrame


def friedman_ranking(table: pd.DataFrame, enough: int = ENOUGH) -> Ranking | None:
    """Test scores (data set x method, higher is better); None below five of either."""
    n, k = table.shape
    if n < enough or k < enough:
        return None
    import scikit_posthocs as posthocs  # both are slow to import
    from scipy import stats

    test = stats.friedmanchisquare(*(table[c] for c in table.columns))
    chi = float(test.statistic)
    f = (n - 1) * chi / (n * (k - 1) - chi) if n * (k - 1) - chi > 1e-9 else math.inf
    ranks = table.rank(axis=1, ascending=False).mean().sort_values(kind="stable")
    nemenyi = posthocs.posthoc_nemenyi_friedman(table.to_numpy())
    nemenyi.index = nemenyi.columns = table.columns
    return Ranking(
        ranks,
        n,
        chi,
        float(test.pvalue),
        float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
        critical_distance(k, n),
        nemenyi.loc[ranks.index, ranks.index],
    )


def critical_distance(methods: int, datasets: int, level: float = 0.05) -> float:
    """Return Nemenyi's q sqrt(k (k + 1) / 6 N), where q is the Studentized range over sqrt(2)."""
    from scipy import stats

    q = float(stats.studentized_range.ppf(1 - level, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * datasets))


def friedman_sentence(ranking: Ranking) -> str:
    """Return the result of the test as a sentence, with its n."""
    ranks, p = ranking.ranks, f"p = {ranking.p_f:.2g}"
    head = f"Friedman over {ranking.datasets} data sets and {len(ranks)} methods"
    if ranking.p_f >= 0.05:
        return f"{head}: ranks do not differ more than by chance ({p})."
    first = f"{ranks.index[0]} (rank {ranks.iloc[0]:.2f})"
    text = f"{head}: ranks differ ({p}); critical distance {ranking.distance:.2f}; {first}"
    apart = [m for m in ranks.index if ranks[m] - ranks.iloc[0] > ranking.distance]
    if not apart:
        return f"{text} is not apart from any other."
    return f"{text} is ahead of {', '.join(apart)}."


def ranking_table(ranking: Ranking) -> pd.DataFrame:
    """Return a row per method: its mean rank, and Nemenyi's p against every other."""
    rows = ranking.nemenyi.add_prefix("nemenyi_p ")
    rows.insert(0, "mean_rank", ranking.ranks)
    rows.insert(1, "n_datasets", ranking.datasets)
    rows.insert(2, "critical_distance", ranking.distance)
    rows.insert(3, "friedman_p", ranking.p)
    rows.insert(4, "iman_davenport_p", ranking.p_f)
    return rows.rename_axis("method").reset_index()
