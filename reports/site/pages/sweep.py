"""Pages of sweeps and equal-budget comparisons: trials, front, map, importances, progress."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
from markupsafe import Markup

from harness.tracking.run_record import Run
from reports.analyses import sweep as analysis
from reports.analyses.sweep import plain_value
from reports.results.sweep_results import Sweep
from reports.site import charts, links
from reports.site.charts import SHAPES, Dot
from reports.site.content import Site
from reports.site.html_table import Cell, Column, Table, build_table, frame_table, text
from reports.site.links import File
from reports.site.pages.trial import TrialPages
from reports.site.render import render_page

SHADES = 8  # classes h1 to h8 of the style sheet
FRONT = {"front": ("c0", SHAPES[3]), "other": ("c8 small", SHAPES[0])}


def sweep_pages(site: Site) -> Iterator[File]:
    """Yield a page for each sweep, trial and equal-budget comparison, and their files."""
    trials = TrialPages(site)
    for name, stored in site.source.sweeps.items():
        facts = json.loads(stored.facts)
        folder = links.sweep(name).removesuffix("index.html")
        yield File(f"{folder}sweep.json", stored.facts.encode())
        if stored.trials:
            yield File(f"{folder}trials.csv", stored.trials.encode())
        if facts["kind"] == "contest":
            yield _equal_budget(site, name, facts)
            continue
        yield _sweep(name, stored.sweep)
        for trial in stored.sweep.trials.to_dict("records"):
            yield trials.page(name, stored.sweep, trial)
    yield from trials.records()


def _page(title: str, name: str, facts: dict[str, Any], tables: list[Table],
          charts: list[tuple[Markup, str]], **values: Any) -> File:  # fmt: skip
    empty = {"parts": [], "legend": ""}
    return render_page(
        links.sweep(name), "sweep.html", f"{title} {name}", tables,
        facts=_facts(facts), pictures=charts, **(empty | values),
    )  # fmt: skip


def _facts(facts: dict[str, Any]) -> list[tuple[str, str]]:
    cells = facts.get("cells", [])
    found = {
        "method": facts.get("method", ""),
        "protocol": facts.get("protocol", ""),
        "data sets": ", ".join(dict.fromkeys(str(d) for d, _ in cells)),
        "seeds": ", ".join(sorted({str(s) for _, s in cells})),
        "objectives": ", ".join(facts.get("objectives", [facts.get("objective", "")])),
        "budget": str(facts.get("goal", "")),
    }
    return [(k, v) for k, v in found.items() if v]


# --- sweeps ---------------------------------------------------------------------------------------


def _sweep(name: str, sweep: Sweep) -> File:
    tables, pictures = [], []
    if not sweep.complete.empty:
        if keys := analysis.map_keys(sweep):
            tables.append(_map(name, sweep, keys))
        if (best := analysis.best_key(sweep, None)) is not None:
            tables.append(_best(name, sweep, best))
        weights = analysis.importances(sweep).rename(columns={"key": "setting"})
        if not weights.empty:
            caption = "Importance of each setting (PED-ANOVA, shares of 1)"
            tables.append(frame_table("importances", caption, weights))
        pictures.append((_front(name, sweep), "Every complete trial; the line is the front."))
        curve = analysis.tuning_curve(sweep, sweep.facts["method"])
        progress = _progress({name: curve}, sweep.facts["objectives"][0], "trial")
        pictures += [(progress, "The best so far, trial by trial.")] if progress else []
    tables.append(_trials(name, sweep))
    return _page("Sweep", name, sweep.facts, tables, pictures)


def _front(name: str, sweep: Sweep) -> Markup:
    """Return trials as faint dots, those on the front as marks, over their cost."""
    front = analysis.front_table(sweep, sweep.cost, sweep.quality)
    columns = front[["number", sweep.cost, sweep.quality, "front"]]
    dots = []
    for number, cost, value, on in columns.itertuples(index=False):
        says = f"trial {number}: {sweep.quality} {value:.2f}, {sweep.cost} {cost:,.0f}"
        href = links.trial(name, int(number))
        dots.append(Dot("front" if on else "other", "", float(cost), float(value), says, href))
    best, labels = int(front["front"].sum()), (sweep.cost, sweep.quality)
    about = f"{len(dots)} trials, {best} of them on the front of {sweep.quality} and {sweep.cost}"
    return charts.front_chart(dots, "front", labels, about, links.sweep(name), FRONT)


def _progress(curves: Mapping[str, pd.DataFrame], objective: str, by: str) -> Markup | None:
    series = {
        label: list(curve[[by, "best"]].itertuples(index=False, name=None))
        for label, curve in curves.items()
    }
    return charts.line_chart(series, "progress", (by, f"best {objective} so far"), steps=True)


def _map(name: str, sweep: Sweep, keys: tuple[str, str]) -> Table:
    """Return the best value for each pair of two keys, shaded."""
    cells = analysis.map_table(sweep, keys)
    found = zip(cells[keys[0]], cells[keys[1]], cells[sweep.quality], strict=True)
    values = {_setting(pair): float(v) for *pair, v in found}
    low, span = min(values.values()), max(values.values()) - min(values.values())
    winners = _winners(name, sweep, keys)

    def cell(column: Any, row: Any) -> Cell:
        value = values.get(_setting((row, column)), math.nan)
        if math.isnan(value):
            return Cell("-")
        shade = 1 + round((SHADES - 1) * (value - low) / span) if span else 1
        href = winners.get(_setting((row, column)), "")
        return Cell(f"{value:.2f}", href, kind=f"h{shade}", value=value)

    down, across = (k.removeprefix("method.") for k in keys)
    columns: dict[Column | str, Callable[[Any], Cell | str]] = {
        text(f"{down} \\ {across}"): str,
        **{Column(str(v)): partial(cell, v) for v in analysis.map_values(sweep, keys[1])},
    }
    caption = f"Best {sweep.quality} for {down} (rows) and {across} (columns)"
    rows = analysis.map_values(sweep, keys[0])
    return build_table("map", caption, rows, columns, sorts=False)


def _best(name: str, sweep: Sweep, key: str) -> Table:
    winners = _winners(name, sweep, sweep.keys)

    def link(line: Mapping[str, Any], column: str) -> str:
        href = winners.get(_setting(line[k] for k in sweep.keys), "")
        return href if column in (key, sweep.quality) else ""

    caption = f"Best {key} for each setting"
    return frame_table("best", caption, analysis.best_table(sweep, key), link)


def _winners(name: str, sweep: Sweep, keys: Sequence[str]) -> dict[tuple[str, ...], str]:
    """Return the page of the best trial for each setting of some keys."""
    up = sweep.quality.startswith("acc/")
    order = sweep.complete.sort_values(sweep.quality, ascending=not up, kind="stable")
    pages: dict[tuple[str, ...], str] = {}
    for number, *values in order[["number", *keys]].itertuples(index=False):
        pages.setdefault(_setting(values), links.trial(name, number))
    return pages


def _setting(values: Iterator[Any] | Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(plain_value(v)) for v in values)


def _trials(name: str, sweep: Sweep) -> Table:
    """Return every trial with its settings and the command that repeats it."""
    names = ["number", "end", *sweep.keys, *dict.fromkeys((sweep.quality, sweep.cost)), "seconds"]

    def cell(column: str, trial: dict[str, Any]) -> Cell:
        value, href = plain_value(trial[column]), links.trial(name, trial["number"])
        if isinstance(value, float):
            return Cell("-") if math.isnan(value) else Cell(f"{value:.4g}", href, value=value)
        return Cell(str(value), href)

    columns: dict[Column | str, Callable[[dict[str, Any]], Cell | str]] = {
        Column(c.removeprefix("method."), "text" if c == "end" else "number"): partial(cell, c)
        for c in names
        if c in sweep.trials
    }
    if "command" in sweep.trials:
        columns[text("command")] = lambda t: Cell(str(t["command"]), kind="code nowrap")
    return build_table("trials", "Every trial", sweep.trials.to_dict("records"), columns)


# --- equal-budget comparisons ---------------------------------------------------------------------


def _equal_budget(site: Site, name: str, facts: dict[str, Any]) -> File:
    """Return the page of an equal-budget comparison: tuning curves, and results on test data."""
    stored, candidates = site.source.sweeps, {m["label"]: m for m in facts["methods"]}
    curves = {
        label: analysis.tuning_curve(stored[m["sweep"]].sweep, label)
        for label, m in candidates.items()
        if m["sweep"] in stored and stored[m["sweep"]].trials
    }
    by = "seconds" if "minutes" in facts["goal"] else "trial"
    progress = _progress(curves, facts["objective"], by)
    runs = {run.digest: run for run in site.finished}
    chosen = [(label, digest) for label, m in candidates.items() for digest in m["digests"]]
    columns: dict[Column | str, Callable[[tuple[str, str]], Cell | str]] = {
        text("candidate"): lambda row: row[0],
        text("run id"): lambda row: Cell(
            row[1][:12], links.run(runs[row[1]]) if row[1] in runs else "", kind="code"
        ),
        text("accuracies on test data"): lambda row: _accuracies(runs.get(row[1])),
    }
    return _page(
        "Equal-budget comparison",
        name,
        facts,
        [build_table("winners", "The winners' runs, tested once", chosen, columns)],
        [(progress, "The best so far against the budget.")] if progress else [],
        parts=[(m["sweep"], links.sweep(m["sweep"])) for m in candidates.values()
               if m["sweep"] in stored],
        legend=charts.legend(curves),
    )  # fmt: skip


def _accuracies(run: Run | None) -> str:
    scores = sorted(run.metrics.items()) if run else []
    texts = [f"{k.removeprefix('acc/')} {v:.2f}" for k, v in scores if k.startswith("acc/")]
    return ", ".join(texts) or "not tested yet"
