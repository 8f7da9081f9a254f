"""Many methods over many data sets: Friedman's test, Nemenyi's, and the critical distance.

Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 2006.
"""

import math
from dataclasses import dataclass

import pandas as pd
from scipy import stats

ENOUGH = 5  # methods, and data sets, below which the tests say nothing


@dataclass(frozen=True)
class Ranking:
    """``ranks`` is the mean rank of each method (1 is best), best first; ``p`` is Friedman's,
    ``p_f`` Iman and Davenport's; two methods differ if their ranks are ``distance`` apart.

    ``nemenyi`` holds the p of every pair, corrected for all of them.
    """

    ranks: pd.Series
    datasets: int
    chi_squared: float
    p: float
    p_f: float
    distance: float
    nemenyi: pd.DataFrame


def friedman_ranking(table: pd.DataFrame, enough: int = ENOUGH) -> Ranking | None:
    """Of scores (data set x method), higher is better. None below five of either."""
    n, k = table.shape
    if n < enough or k < enough:
        return None
    import scikit_posthocs as posthocs  # slow to import

    found = stats.friedmanchisquare(*(table[c] for c in table.columns))
    chi = float(found.statistic)
    f = (n - 1) * chi / (n * (k - 1) - chi) if n * (k - 1) - chi > 1e-9 else math.inf
    ranks = table.rank(axis=1, ascending=False).mean().sort_values(kind="stable")
    nemenyi = posthocs.posthoc_nemenyi_friedman(table.to_numpy())
    nemenyi.index = nemenyi.columns = table.columns
    return Ranking(
        ranks,
        n,
        chi,
        float(found.pvalue),
        float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
        critical_distance(k, n),
        nemenyi.loc[ranks.index, ranks.index],
    )


def critical_distance(methods: int, datasets: int, level: float = 0.05) -> float:
    """Nemenyi's: q sqrt(k (k + 1) / 6 N), where q is the Studentized range over sqrt(2)."""
    q = float(stats.studentized_range.ppf(1 - level, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * datasets))


def friedman_sentence(found: Ranking) -> str:
    """What the test says, with its n."""
    first = found.ranks.index[0]
    head = f"Friedman over {found.datasets} data sets and {len(found.ranks)} methods"
    if found.p_f >= 0.05:
        return f"{head}: ranks do not differ more than by chance (p = {found.p_f:.2g})."
    apart = [m for m in found.ranks.index if found.ranks[m] - found.ranks[first] > found.distance]
    text = f"{head}: ranks differ (p = {found.p_f:.2g}); critical distance {found.distance:.2f}; "
    if not apart:
        return f"{text}{first} (rank {found.ranks[first]:.2f}) is not apart from any other."
    return f"{text}{first} (rank {found.ranks[first]:.2f}) is ahead of {', '.join(apart)}."


def ranking_table(found: Ranking) -> pd.DataFrame:
    """A row a method: its mean rank, and Nemenyi's p against every other."""
    rows = found.nemenyi.add_prefix("nemenyi_p ")
    rows.insert(0, "mean_rank", found.ranks)
    rows.insert(1, "n_datasets", found.datasets)
    rows.insert(2, "critical_distance", found.distance)
    rows.insert(3, "friedman_p", found.p)
    rows.insert(4, "iman_davenport_p", found.p_f)
    return rows.rename_axis("method").reset_index()
