"""Pages of trials: what was tried, how it ended, and the runs on validation data behind it."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from harness.tracking.run_record import Run
from reports.analyses import sweep
from reports.results.sweep_results import Sweep
from reports.site import content, links
from reports.site.charts import lines
from reports.site.content import Site
from reports.site.html_table import Cell, Column, Table
from reports.site.links import File
from reports.site.pages.configuration import PRINTS
from reports.site.pages.leaderboard import count, number
from reports.site.records import TRIAL_RECORDS, record_line
from reports.site.render import render_page


class Trials:
    """The runs of all trials of a site, and the records that it carries along of them."""

    def __init__(self, site: Site) -> None:
        tuned, few = site.source.tuned, len(site.source.tuned) <= content.DETAIL_LIMIT
        self._tested = {run.id for run in site.runs}
        self._newest = {
            run.digest: run
            for run in sorted([*site.finished, *tuned], key=lambda r: (r.started, r.id))
        }
        self.curves = {run.id: site.source.curve(run) if few else [] for run in tuned}
        self._records = [record_line(run, self.curves[run.id], None) for run in tuned]

    def pages(self, name: str, sweep: Sweep) -> Iterator[File]:
        """A page for each trial of a sweep."""
        for row in sweep.trials.to_dict("records"):
            yield self._page(name, sweep, row)

    def records(self) -> Iterator[File]:
        if self._records:
            yield File(TRIAL_RECORDS, "".join(self._records).encode())

    def _page(self, name: str, sweep: Sweep, row: dict[str, Any]) -> File:
        digests = text(row.get("digests")).split()
        runs = [run for d in digests if (run := self._newest.get(d))]
        tables = [_settings(sweep, row)]
        if runs:
            tables += [self._runs(runs), _shared(runs)]
        return render_page(
            links.trial(name, row["number"]),
            "trial.html",
            f"{name}: trial {row['number']}",
            tables,
            name=name,
            sweep=links.sweep(name),
            facts=[(k, v) for k in ("end", "why", "origin", "seconds") if (v := text(row.get(k)))],
            command=text(row.get("command")),
            absent=len(digests) - len(runs),
            names=[t.name for t in tables],
            curve=self._curve(runs),
            legend=lines.legend([_name(run) for run in runs]),
        )

    def _runs(self, runs: Sequence[Run]) -> Table:
        """A row a run; one that was tested, too, has a page of its own."""
        scores = sorted({m for run in runs for m in run.metrics if m.startswith("acc/val")})
        heads = [Column("data set", "text"), Column("seed"), Column("digest", "text")]
        heads += [*(Column(m) for m in scores), Column("trainable"), Column("train s")]
        heads += [Column("run", "text"), Column("commit", "text")]
        heads += [Column(p.replace("_hash", ""), "text") for p in PRINTS]
        rows = []
        for run in runs:
            at = links.run(run) if run.id in self._tested else ""
            known, tags = run.metrics, run.tags
            rows.append(
                [
                    Cell(tags["dataset"]),
                    Cell(tags["seed"]),
                    Cell(run.digest[:12], at, kind="code", title=run.digest),
                    *(number(known.get(m, math.nan), 4, at) for m in scores),
                    count(known.get("params/trainable", math.nan), at),
                    number(known.get("time/train_seconds", math.nan), 2, at),
                    Cell(run.id[:12], at, kind="code", title=run.id),
                    Cell(tags.get("git_commit", "")[:10], kind="code"),
                    *(Cell(tags.get(p, "")[:10], kind="code") for p in PRINTS),
                ]
            )
        return Table("runs", "Its runs on validation images", heads, rows)

    def _curve(self, runs: Sequence[Run]) -> Markup | None:
        known = {_name(run): self.curves.get(run.id, []) for run in runs}
        series = {
            name: [(float(step), loss) for step, loss in curve]
            for name, curve in known.items()
            if sum(math.isfinite(loss) for _, loss in curve) > 1
        }
        if not series:
            return None
        ends = ", ".join(f"{name} {points[-1][1]:.3f}" for name, points in series.items())
        about = f"Training loss over steps; at the end: {ends}"
        return lines.picture(series, "curve", ("step", "training loss"), about)


def _name(run: Run) -> str:
    return f"{run.tags['dataset']}, seed {run.tags['seed']}"


def _settings(sweep: Sweep, row: dict[str, Any]) -> Table:
    """What was tried and what it reached, means over its runs."""
    shown = [*sweep.keys, *sweep.facts["objectives"], "params/trainable", "time/train_seconds"]
    rows = [
        [Cell(k), Cell(v, kind="long")] for k in dict.fromkeys(shown) if (v := text(row.get(k)))
    ]
    heads = [Column("setting or mean", "text"), Column("value", "text")]
    return Table("settings", "What was tried, and what it reached", heads, rows, sorts=False)


def _shared(runs: Sequence[Run]) -> Table:
    """The whole configuration and the tags of all runs; what differs among them side by side."""
    records = [{**dict(sorted(run.params.items())), **run.tags} for run in runs]
    keys = dict.fromkeys(key for record in records for key in record)
    rows = []
    for key in keys:
        values = dict.fromkeys(record.get(key, "") for record in records)
        rows.append([Cell(key), Cell(" | ".join(values), kind="long code")])
    heads = [Column("setting or tag", "text"), Column("value", "text")]
    return Table(
        "spec", "The whole configuration, and where it comes from", heads, rows, sorts=False
    )


def text(value: Any) -> str:
    """A cell of trials.csv; empty where it has none."""
    value = sweep.plain_value(value)
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)
