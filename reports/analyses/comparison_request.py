"""What ``ringbench compare`` was asked: the runs of one kind, the entrants, and each pair."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError, unknown
from reports.analyses import comparison
from reports.analyses.comparison import Comparison, compare_methods
from reports.results import selection
from reports.results.board import ACCURACY, runs_frame
from reports.results.selection import Candidate, configuration_title
from reports.statistics.mcnemar import FetchPredictions


def sweep_comparisons(
    facts: dict[str, Any], runs: Iterable[Run], fetch: FetchPredictions
) -> list[Comparison]:
    """Paired on the same data sets, fresh seeds and images; empty below two tested winners."""
    table = runs_frame(runs)
    table = table[table["finished"]]
    entrants = [_entrant(m, table[table["digest"].isin(m["digests"])]) for m in facts["methods"]]
    there = [e for e in entrants if not e.rows.empty]
    if len(there) < 2 or entrants[0].rows.empty:
        return []
    return comparison.compare_methods(there, there[0], ACCURACY[facts["protocol"]][-1], fetch)


def _entrant(said: dict[str, Any], rows: Any) -> Candidate:
    method, label = said["method"], said["label"]
    return Candidate(
        method, label, configuration_title(method, label.removeprefix(method).strip()), rows
    )


@dataclass(frozen=True)
class ComparisonRequest:
    """As typed."""

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
    """The comparisons, a title, and the finished runs of that kind: a row each."""

    pairs: list[Comparison]
    title: str
    table: pd.DataFrame


def compare_requested(
    asked: ComparisonRequest, runs: Iterable[Run], fetch: FetchPredictions
) -> RequestedComparison:
    """The comparisons asked for. Raises UsageError."""
    if asked.best and asked.every:
        raise UsageError("--best and --all exclude each other")
    names = list(asked.names)
    if asked.baseline is not None and asked.baseline not in names:
        names.append(asked.baseline)
    table = _of_one_kind(runs_frame(runs), asked, [selection.method_of(n) for n in names])
    protocol, backbone = str(table["protocol"].iloc[0]), str(table["backbone"].iloc[0])
    metric = asked.metric or ACCURACY[protocol][-1]
    known = sorted(c for c in table.columns if c.startswith("acc/") and table[c].notna().any())
    if metric not in known:
        raise unknown(f"metric {metric!r}", metric, known)
    several: selection.Several = "best" if asked.best else "all" if asked.every else "refuse"
    entrants = selection.select_candidates(table, names, several)
    base = (
        []
        if asked.baseline is None
        else selection.select_candidates(table, [asked.baseline], several)
    )
    if len(base) > 1:
        raise UsageError(f"--baseline {asked.baseline!r} has several configurations; name one")
    if len(entrants) < 2:
        raise UsageError("compare: name at least two methods, or one with several --all")
    ours = next((e for e in entrants if base and e.rows.index.equals(base[0].rows.index)), None)
    found = compare_methods(entrants, ours, metric, fetch)
    return RequestedComparison(found, f"{protocol} on {backbone}, {metric}", table)


def _of_one_kind(table: pd.DataFrame, asked: ComparisonRequest, methods: list[str]) -> pd.DataFrame:
    """The finished runs of one protocol and backbone that has all methods. Raises UsageError."""
    table = table[table["finished"]]
    for column, wanted in (("protocol", asked.protocol), ("backbone", asked.backbone)):
        if wanted is not None:
            known = set(table[column])
            table = table[table[column] == wanted]
            if table.empty:
                raise unknown(f"--{column} {wanted!r} in the finished runs", wanted, known)
    for method in methods:
        if method not in set(table["method"]):
            known = set(table["method"])
            raise unknown(f"method {method!r} in the finished runs", method, known)
    kinds = [
        (kind, part)
        for kind, part in table.groupby(["protocol", "backbone"])
        if set(methods) <= set(part["method"])
    ]
    if len(kinds) != 1:
        listed = "; ".join(f"--protocol {p} --backbone {b}" for (p, b), _ in kinds)
        raise UsageError(
            f"these methods were compared in several ways, choose one: {listed}"
            if kinds
            else "these methods have no runs with the same protocol and backbone"
        )
    found: pd.DataFrame = kinds[0][1]
    return found if asked.data is None else _on(found, asked.data.split(","))


def _on(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    there = set(table["dataset"])
    for name in names:
        if name not in there:
            raise unknown(f"--data {name!r} in the finished runs", name, there)
    return table[table["dataset"].isin(names)]
