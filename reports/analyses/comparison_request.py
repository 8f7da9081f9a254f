"""The comparisons that a person asks for with ``ringbench compare``, or a sweep's winners."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError, unknown
from reports.analyses.comparison import Comparison, compare_methods
from reports.results import selection
from reports.results.board import runs_frame, tested_metrics
from reports.results.selection import Candidate, configuration_title
from reports.statistics.mcnemar import FetchPredictions


@dataclass(frozen=True)
class ComparisonRequest:
    """The options of ``ringbench compare`` as typed."""

    names: tuple[str, ...]
    baseline: str | None = None
    protocol: str | None = None
    backbone: str | None = None
    data: str | None = None
    metric: str | None = None
    best: bool = False
    every: bool = False


@dataclass(frozen=True)
class RequestedComparison:
    """The comparisons, a title, and a row per finished run of that protocol and backbone."""

    pairs: list[Comparison]
    title: str
    table: pd.DataFrame


def compare_requested(
    request: ComparisonRequest, runs: Iterable[Run], fetch: FetchPredictions
) -> RequestedComparison:
    """Return the comparisons of a request. Raises UsageError."""
    if request.best and request.every:
        raise UsageError("--best and --all exclude each other")
    names = list(request.names)
    if request.baseline is not None and request.baseline not in names:
        names.append(request.baseline)
    table = _runs_of_request(runs_frame(runs), request, [selection.method_of(n) for n in names])
    protocol, backbone = str(table["protocol"].iloc[0]), str(table["backbone"].iloc[0])
    metric = request.metric or tested_metrics(protocol)[-1]
    recorded = sorted(c for c in table.columns if c.startswith("acc/") and table[c].notna().any())
    if metric not in recorded:
        raise unknown(f"metric {metric!r}", metric, recorded)
    several: selection.Several = "best" if request.best else "all" if request.every else "refuse"
    candidates = selection.select_candidates(table, names, several)
    if len(candidates) < 2:
        raise UsageError("compare: name at least two methods, or one with several --all")
    baseline = None
    if request.baseline is not None:
        named = selection.select_candidates(table, [request.baseline], several)
        if len(named) > 1:
            raise UsageError(
                f"--baseline {request.baseline!r} has several configurations; name one"
            )
        baseline = next(c for c in candidates if c.rows.index.equals(named[0].rows.index))
    pairs = compare_methods(candidates, baseline, metric, fetch)
    return RequestedComparison(pairs, f"{protocol} on {backbone}, {metric}", table)


def sweep_comparisons(
    facts: dict[str, Any], runs: Iterable[Run], fetch: FetchPredictions
) -> list[Comparison]:
    """Compare the winners of an equal-budget comparison with the first, on fresh seeds.

    Empty for fewer than two tested winners, or if the first is not tested.
    """
    table = runs_frame(runs)
    table = table[table["finished"]]
    winners = [_winner(m, table[table["digest"].isin(m["digests"])]) for m in facts["methods"]]
    tested = [w for w in winners if not w.rows.empty]
    if len(tested) < 2 or winners[0].rows.empty:
        return []
    return compare_methods(tested, tested[0], tested_metrics(facts["protocol"])[-1], fetch)


def _winner(facts: dict[str, Any], rows: pd.DataFrame) -> Candidate:
    method, label = facts["method"], facts["label"]
    title = configuration_title(method, label.removeprefix(method).strip())
    return Candidate(method, label, title, rows)


def _runs_of_request(
    table: pd.DataFrame, request: ComparisonRequest, methods: list[str]
) -> pd.DataFrame:
    """Return the finished runs of the one protocol and backbone that has all methods."""
    table = table[table["finished"]]
    for column, value in (("protocol", request.protocol), ("backbone", request.backbone)):
        if value is not None:
            known = set(table[column])
            table = table[table[column] == value]
            if table.empty:
                raise unknown(f"--{column} {value!r} in the finished runs", value, known)
    known = set(table["method"])
    for method in methods:
        if method not in known:
            raise unknown(f"method {method!r} in the finished runs", method, known)
    kinds = [
        (kind, part)
        for kind, part in table.groupby(["protocol", "backbone"])
        if set(methods) <= set(part["method"])
    ]
    if not kinds:
        raise UsageError("these methods have no runs with the same protocol and backbone")
    if len(kinds) > 1:
        listed = "; ".join(f"--protocol {p} --backbone {b}" for (p, b), _ in kinds)
        raise UsageError(f"these methods were compared in several ways, choose one: {listed}")
    runs: pd.DataFrame = kinds[0][1]
    if request.data is None:
        return runs
    datasets, there = request.data.split(","), set(runs["dataset"])
    for name in datasets:
        if name not in there:
            raise unknown(f"--data {name!r} in the finished runs", name, there)
    return runs[runs["dataset"].isin(datasets)]
