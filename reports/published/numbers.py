"""Published numbers, and ours beside them where both measure the same thing.

``published/*.csv`` has them as printed, with their source and evidence: ``read`` in that source, in
a ``thread``, ``computed`` from published files, or ``recalled`` from a table that could not be
opened and was checked by arithmetic alone.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import pandas as pd

from harness.data import public_sets
from harness.data.dataset import GENERIC_TEMPLATE
from harness.spec.protocols import harmonic_mean
from harness.tracking.run_record import Run
from reports.results.board import AVERAGE, runs_frame
from reports.statistics.intervals import Estimate, t_interval

HALVES = ("acc/base", "acc/novel")


@dataclass(frozen=True)
class Published:
    """One printed number; ``value`` keeps its digits, an empty field was not stated."""

    protocol: str
    backbone: str
    pretrained: str
    dataset: str
    method: str  # our name of it, where we have the method
    title: str
    settings: str  # ``key=value`` words that must agree
    template: str  # coop (each set's own), generic, learned, or another
    shots: str
    metric: str
    value: str
    spread: str
    tolerance: str
    source: str
    evidence: str
    file: str = ""

    @property
    def number(self) -> float:
        return float(self.value)

    @property
    def half_digit(self) -> float:
        """The largest rounding error of the printed number."""
        return 0.5 * 10.0 ** -len(self.value.partition(".")[2])


@dataclass(frozen=True)
class PublishedMatch:
    """Our mean over seeds and a printed number of the same thing."""

    ours: Estimate
    theirs: Published
    settings: str

    @property
    def verdict(self) -> str:
        """Whether ours lies within the tolerance, or why this is unknown."""
        if not self.theirs.template:
            return "template not stated"
        if not self.theirs.tolerance:
            return "no tolerance stated"
        near = abs(self.ours.mean - self.theirs.number) <= float(self.theirs.tolerance)
        return "agrees" if near else "differs"


@cache
def published_numbers() -> tuple[Published, ...]:
    """Return every published number, file by file."""
    folder = files("reports") / "published"
    found = []
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.name.endswith(".csv"):
            rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
            found += [Published(**row, file=path.name) for row in rows]
    return tuple(found)


def match_published(runs: Iterable[Run]) -> list[PublishedMatch]:
    """Return each finished configuration with the numbers published for it."""
    table = runs_frame(runs)
    done = table[table["finished"]]
    found = []
    keys = ["protocol", "backbone", "method", "configuration", "shots"]
    for _, group in done.groupby(keys, sort=True):
        cells = {str(name): part for name, part in group.groupby("dataset")}
        if set(public_sets.collections()["all11"]) <= set(cells):
            cells[AVERAGE] = _average(group)
        for dataset, part in cells.items():
            found += _matches(group, dataset, part)
    return found


def _average(group: pd.DataFrame) -> pd.DataFrame:
    """Return a row per seed that has all eleven sets; H is that of the averages."""
    eleven = public_sets.collections()["all11"]
    part = group[group["dataset"].isin(eleven)]
    full = part.groupby("seed").filter(lambda g: set(g["dataset"]) == set(eleven))
    metrics = [c for c in full if c.startswith("acc/")]
    means = full.groupby("seed")[metrics].mean()
    if set(HALVES) <= set(means):
        pairs = zip(means["acc/base"], means["acc/novel"], strict=True)
        means["acc/hmean"] = [harmonic_mean(b, n) for b, n in pairs]
    return means


def _matches(group: pd.DataFrame, dataset: str, part: pd.DataFrame) -> list[PublishedMatch]:
    first = group.iloc[0]
    facts = {**first["params"]}
    ours = (first["protocol"], first["backbone"], facts.get("backbone.pretrained", ""))
    found = []
    for theirs in published_numbers():
        same = (theirs.protocol, theirs.backbone, theirs.pretrained) == ours
        if not same or (theirs.method, theirs.dataset) != (first["method"], dataset):
            continue
        if theirs.metric not in part or part[theirs.metric].dropna().empty:
            continue
        any_shots = first["method"] == "zero_shot" or not theirs.shots
        if not any_shots and str(first["shots"]) != theirs.shots:
            continue
        if _same_template(theirs, facts, dataset) and _same_settings(theirs, facts):
            estimate = t_interval(part[theirs.metric].dropna().tolist())
            found.append(PublishedMatch(estimate, theirs, str(first["configuration"])))
    return found


def _same_template(theirs: Published, facts: dict[str, str], dataset: str) -> bool:
    """Return whether the templates are the same text; a set's own may be the generic one."""
    if theirs.template in ("", "learned"):
        return True
    eleven = public_sets.collections()["all11"]
    names = eleven if dataset == AVERAGE else (dataset,)
    named = facts.get("data.template", "default")
    for name in names:
        own = (
            public_sets.known_sets()[name].template
            if name in public_sets.known_sets()
            else GENERIC_TEMPLATE
        )
        wanted = {"coop": own, "generic": GENERIC_TEMPLATE}.get(theirs.template)
        if (own if named in ("default", "coop") else named) != wanted:
            return False
    return True


def _same_settings(theirs: Published, facts: dict[str, str]) -> bool:
    pairs = (word.partition("=") for word in theirs.settings.split())
    return all(facts.get(key) == value for key, _, value in pairs)


MATCH_COLUMNS = (
    *("protocol", "data set", "method", "shots", "metric", "ours", "seeds"),
    *("published", "tolerance", "verdict", "by", "source"),
)


def match_rows(found: Sequence[PublishedMatch]) -> list[list[object]]:
    """Return cells of a table, the printed numbers as printed."""
    return [
        [
            b.theirs.protocol,
            b.theirs.dataset,
            b.theirs.method,
            b.theirs.shots,
            b.theirs.metric,
            b.ours.mean,
            b.ours.n,
            b.theirs.value,
            b.theirs.tolerance,
            b.verdict,
            b.theirs.title,
            f"{b.theirs.source} ({b.theirs.evidence})",
        ]
        for b in found
    ]


COLOURS = {"agrees": "[green]agrees[/green]", "differs": "[red]differs[/red]"}


def coloured_cells(cells: Sequence[Sequence[object]]) -> list[list[object]]:
    """Return the cells in green or red for a terminal."""
    return [[COLOURS.get(str(cell), cell) for cell in row] for row in cells]
