"""Pages of trials: their settings, how they ended, and their runs on validation data."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from harness.tracking.run_record import Run
from reports.analyses.sweep import plain_value
from reports.results.sweep_results import Sweep
from reports.site import charts, content, links
from reports.site.content import Site
from reports.site.html_table import Cell, Table, build_table, number, pairs_table, text
from reports.site.links import File
from reports.site.pages.configuration import RunColumns, metric_of, run_cell, run_columns
from reports.site.records import TRIAL_RECORDS, record_line
from reports.site.render import render_page


class TrialPages:
    """The runs of all trials of a site, and the records that it carries of them."""

    def __init__(self, site: Site) -> None:
        tuned = site.source.tuned
        few = len(tuned) <= content.DETAIL_LIMIT
        self._tested = {run.id for run in site.runs}
        ordered = sorted([*site.finished, *tuned], key=lambda run: (run.started, run.id))
        self._newest = {run.digest: run for run in ordered}
        self._curves = {run.id: site.source.curve(run) if few else [] for run in tuned}
        self._records = [record_line(run, self._curves[run.id], None) for run in tuned]

    def records(self) -> Iterator[File]:
        if self._records:
            yield File(TRIAL_RECORDS, "".join(self._records).encode())

    def page(self, name: str, sweep: Sweep, trial: dict[str, Any]) -> File:
        """Return the page of a trial; ``trial`` is its row of trials.csv."""
        digests = value_text(trial.get("digests")).split()
        runs = [self._newest[d] for d in digests if d in self._newest]
        facts = {key: value_text(trial.get(key)) for key in ("end", "why", "origin", "seconds")}
        return render_page(
            links.trial(name, trial["number"]),
            "trial.html",
            f"{name}: trial {trial['number']}",
            [_settings(sweep, trial), *([self._runs(runs), _configuration(runs)] if runs else ())],
            name=name,
            sweep=links.sweep(name),
            facts=[(key, value) for key, value in facts.items() if value],
            command=value_text(trial.get("command")),
            absent=len(digests) - len(runs),
            curve=charts.loss_chart({_name(run): self._curves.get(run.id, []) for run in runs}),
            legend=charts.legend(_name(run) for run in runs),
        )

    def _link(self, run: Run) -> str:
        """Return the page of a run that was also tested."""
        return links.run(run) if run.id in self._tested else ""

    def _runs(self, runs: Sequence[Run]) -> Table:
        def score(metric: str, run: Run) -> Cell:
            return number(metric_of(run, metric), 4, self._link(run))

        scores = sorted({m for run in runs for m in run.metrics if m.startswith("acc/val")})
        columns: RunColumns = {
            text("data set"): lambda run: run.tags["dataset"],
            "seed": lambda run: run.tags["seed"],
            text("run id"): lambda run: run_cell(run, self._link(run), "code"),
            text("MLflow run"): lambda run: Cell(
                run.id[:12], self._link(run), kind="code", title=run.id
            ),
            **{metric: partial(score, metric) for metric in scores},
            **run_columns(self._link),
        }
        return build_table("runs", "Its runs on validation images", runs, columns)


def _name(run: Run) -> str:
    return f"{run.tags['dataset']}, seed {run.tags['seed']}"


def _settings(sweep: Sweep, trial: dict[str, Any]) -> Table:
    """Return the settings of a trial and its results, which are means over its runs."""
    keys = [*sweep.keys, *sweep.facts["objectives"], "params/trainable", "time/train_seconds"]
    values = {key: value_text(trial.get(key)) for key in keys}
    pairs = ((key, value) for key, value in values.items() if value)
    caption = "Settings, and means over the runs"
    return pairs_table("settings", caption, ("setting or mean", "value"), pairs)


def _configuration(runs: Sequence[Run]) -> Table:
    """Return the whole configuration and the tags of all runs; differing values side by side."""
    records = [{**dict(sorted(run.params.items())), **run.tags} for run in runs]
    keys = dict.fromkeys(key for record in records for key in record)
    pairs = ((k, " | ".join(dict.fromkeys(r.get(k, "") for r in records))) for k in keys)
    caption, heads = "The whole configuration and its origin", ("setting or tag", "value")
    return pairs_table("spec", caption, heads, pairs, "long code")


def value_text(value: Any) -> str:
    """Return a cell of trials.csv as text, empty where it has no value."""
    value = plain_value(value)
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)
