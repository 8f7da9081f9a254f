"""Published tables checked against their own arithmetic: means and harmonic means.

A printed number stands for an interval of half its last digit. A mean or harmonic mean outside the
range that the intervals of its parts allow is impossible: one of the numbers is wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from harness.data import public_sets
from harness.spec.protocols import harmonic_mean
from reports.published.numbers import HALVES, Published
from reports.results.board import AVERAGE

AuditResult = Literal["consistent", "mean of H", "impossible"]

VTAB = {
    "natural": ("cifar", "caltech101", "dtd", "flowers", "pets", "svhn", "sun397"),
    "specialized": ("camelyon", "eurosat", "resisc45", "retinopathy"),
    "structured": (
        *("clevr_count", "clevr_distance", "dmlab", "kitti"),
        *("dsprites_location", "dsprites_orientation", "norb_azimuth", "norb_elevation"),
    ),
}
VTAB |= {
    "mean_of_groups": ("natural", "specialized", "structured"),
    "mean_of_19": (*VTAB["natural"], *VTAB["specialized"], *VTAB["structured"]),
}


@dataclass(frozen=True)
class AuditCheck:
    """A recomputed mean; ``cell`` names the wrong number where one change corrects it."""

    title: str
    protocol: str
    dataset: str
    what: str  # mean or H
    metric: str
    shots: str
    stated: str
    recomputed: float
    verdict: AuditResult
    cell: str = ""


Key = tuple[str, str, str, str]  # protocol, backbone, title, shots
Cells = Mapping[tuple[str, str], Published]  # data set, metric


def audit_tables(numbers: Sequence[Published]) -> list[AuditCheck]:
    """Recompute every mean and harmonic mean whose parts are published."""
    found: list[AuditCheck] = []
    for cells in _tables(numbers).values():
        found += _with_cells([*_means(cells), *_harmonic_means(cells)], cells)
    return found


def _tables(numbers: Sequence[Published]) -> dict[Key, dict[tuple[str, str], Published]]:
    tables: dict[Key, dict[tuple[str, str], Published]] = {}
    for n in numbers:
        key = (n.protocol, n.backbone, n.title, n.shots)
        tables.setdefault(key, {})[n.dataset, n.metric] = n
    return tables


def _means(cells: Cells) -> Iterator[AuditCheck]:
    wholes = {AVERAGE: public_sets.collections()["all11"]}
    if any(n.protocol == "vtab1k" for n in cells.values()):
        wholes = VTAB
    for (dataset, metric), stated in cells.items():
        parts = [cells.get((name, metric)) for name in wholes.get(dataset, ())]
        known = [part for part in parts if part is not None]
        if metric == "acc/hmean" or not known or len(known) < len(parts):
            continue
        mean = fmean(part.number for part in known)
        slack = fmean(part.half_digit for part in known) + stated.half_digit
        good = abs(mean - stated.number) <= slack + 1e-9
        yield _check(stated, "mean", mean, "consistent" if good else "impossible")


def _harmonic_means(cells: Cells) -> Iterator[AuditCheck]:
    for (dataset, metric), stated in cells.items():
        halves = [cells.get((dataset, half)) for half in HALVES]
        base, novel = halves
        if metric != "acc/hmean" or base is None or novel is None:
            continue
        low, high = (
            harmonic_mean(base.number + s * base.half_digit, novel.number + s * novel.half_digit)
            for s in (-1, 1)
        )
        verdict: AuditResult = "consistent"
        if not low - 1e-9 <= stated.number + stated.half_digit:
            # the mean of several H is at most the H of their means
            verdict = "mean of H" if dataset == AVERAGE else "impossible"
        elif not stated.number - stated.half_digit <= high + 1e-9:
            verdict = "impossible"
        yield _check(stated, "H", harmonic_mean(base.number, novel.number), verdict)


def _check(stated: Published, what: str, recomputed: float, verdict: AuditResult) -> AuditCheck:
    return AuditCheck(
        stated.title,
        stated.protocol,
        stated.dataset,
        what,
        stated.metric,
        stated.shots,
        stated.value,
        recomputed,
        verdict,
    )


def _with_cells(checks: Sequence[AuditCheck], cells: Cells) -> list[AuditCheck]:
    """Name the cell that corrects an impossible mean and an impossible H at once."""
    wrong = {c.metric: c for c in checks if c.what == "mean" and c.verdict == "impossible"}
    named = []
    for check in checks:
        if check.what == "H" and check.verdict == "impossible":
            for half, mean in wrong.items():
                check = _named(check, half, mean, cells)
        named.append(check)
    return named


def _named(check: AuditCheck, half: str, mean: AuditCheck, cells: Cells) -> AuditCheck:
    other = next(h for h in HALVES if h != half)
    stated, known = float(check.stated), cells[check.dataset, other].number
    printed = cells[check.dataset, half]
    by_h = stated * known / (2 * known - stated)  # H = 2 b n / (b + n), solved for one half
    by_mean = printed.number + 11 * (float(mean.stated) - mean.recomputed)
    if abs(by_h - by_mean) > 0.15:  # eleven cells and a mean, each rounded
        return check
    cell = f"{half} of {check.dataset} is {printed.value}; {by_h:.2f} would agree with H and mean"
    return AuditCheck(**{**vars(check), "cell": cell})


AUDIT_COLUMNS = (
    "by",
    "data set",
    "what",
    "metric",
    "shots",
    "stated",
    "recomputed",
    "verdict",
    "cell",
)


def audit_rows(checks: Sequence[AuditCheck]) -> list[list[object]]:
    """Return cells of a table."""
    return [
        [c.title, c.dataset, c.what, c.metric, c.shots, c.stated, c.recomputed, c.verdict, c.cell]
        for c in checks
    ]
