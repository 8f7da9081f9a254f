"""Pages of sweeps and contests: every trial, the front, the map, what mattered, the way there."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
from markupsafe import Markup

from reports.analyses import sweep
from reports.analyses.sweep import (
    best_key,
    best_table,
    importances,
    map_keys,
    map_table,
    map_values,
    plain_value,
    tuning_curve,
)
from reports.results.sweep_results import Sweep
from reports.site import links
from reports.site.charts import axes, lines, marks, pareto
from reports.site.content import Site
from reports.site.html_table import Cell, Column, Table
from reports.site.links import File
from reports.site.pages.comparison import plain
from reports.site.pages.trial import Trials
from reports.site.render import render_page
from reports.statistics.dominance import front_of_pairs

SHADES = 8


def sweep_pages(site: Site) -> Iterator[File]:
    """A page for each sweep, trial and contest, with the files they are made of."""
    trials = Trials(site)
    for name, stored in site.source.sweeps.items():
        facts = json.loads(stored.facts)
        folder = links.sweep(name).removesuffix("index.html")
        yield File(f"{folder}sweep.json", stored.facts.encode())
        if stored.trials:
            yield File(f"{folder}trials.csv", stored.trials.encode())
        if facts["kind"] == "contest":
            yield _contest(site, name, facts)
        else:
            sweep = stored.sweep
            yield _sweep(name, sweep)
            yield from trials.pages(name, sweep)
    yield from trials.records()


def _sweep(name: str, sweep: Sweep) -> File:
    tables, pictures = [], []
    if not sweep.complete.empty:
        keys = map_keys(sweep)
        tables += [_map(name, sweep, keys)] if keys else []
        best = best_key(sweep, None)
        if best is not None:
            tables.append(_best(name, sweep, best))
        weights = importances(sweep)
        tables += [] if weights.empty else [_importances(weights)]
        pictures = [(_front(sweep), "Every complete trial; the line is the front.")]
        curve = tuning_curve(sweep, sweep.facts["method"])
        pictures.append((_curve({name: curve}, sweep.facts["objectives"][0], "trial"),
                         "The best so far, trial by trial."))  # fmt: skip
    tables.append(_trials(name, sweep))
    return render_page(
        links.sweep(name),
        "sweep.html",
        f"Sweep {name}",
        tables,
        name=name,
        facts=_facts(sweep.facts),
        pictures=pictures,
        names=[t.name for t in tables],
        parts=[],
        legend="",
    )


def _contest(site: Site, name: str, facts: dict[str, Any]) -> File:
    """Its tuning curves, and how the winners did on test data."""
    parts = {m["label"]: m for m in facts["methods"]}
    curves = {
        label: sweep.tuning_curve(site.source.sweeps[m["sweep"]].sweep, label)
        for label, m in parts.items()
        if m["sweep"] in site.source.sweeps and site.source.sweeps[m["sweep"]].trials
    }
    by = "seconds" if "minutes" in facts["goal"] else "trial"
    pictures = []
    if any(c["best"].notna().any() for c in curves.values()):
        pictures = [(_curve(curves, facts["objective"], by), "The best so far against the budget.")]
    runs = {run.digest: run for run in site.finished}
    rows = []
    for label, m in parts.items():
        for digest in m["digests"]:
            run = runs.get(digest)
            values = sorted(run.metrics.items()) if run else []
            shown = ", ".join(
                f"{k.removeprefix('acc/')} {v:.2f}" for k, v in values if k[:4] == "acc/"
            )
            at = links.run(run) if run else ""
            rows.append(
                [Cell(label), Cell(digest[:12], at, kind="code"), Cell(shown or "not tested yet")]
            )
    heads = [
        Column("entrant", "text"),
        Column("run", "text"),
        Column("accuracies on test data", "text"),
    ]
    return render_page(
        links.sweep(name),
        "sweep.html",
        f"Contest {name}",
        [Table("winners", "The winners' runs, tested once", heads, rows)],
        name=name,
        facts=_facts(facts),
        pictures=pictures,
        names=["winners"],
        parts=_parts(site, facts),
        legend=lines.legend(list(curves)),
    )


def _parts(site: Site, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The sweeps of a contest that are there, with their pages."""
    names = [str(m["sweep"]) for m in facts["methods"]]
    return [(name, links.sweep(name)) for name in names if name in site.source.sweeps]


def _facts(facts: dict[str, Any]) -> list[tuple[str, str]]:
    cells = facts.get("cells", [])
    data = ", ".join(dict.fromkeys(str(d) for d, _ in cells))
    found = {
        "method": facts.get("method", ""),
        "protocol": facts.get("protocol", ""),
        "data sets": data,
        "seeds": ", ".join(sorted({str(s) for _, s in cells})),
        "objectives": ", ".join(facts.get("objectives", [facts.get("objective", "")])),
        "budget": str(facts.get("goal", "")),
    }
    return [(k, v) for k, v in found.items() if v]


def _front(sweep: Sweep) -> Markup:
    """Trials as faint dots, those on the front as marks, over the cost."""
    table = sweep.complete
    pairs = [
        (float(c), float(q)) for c, q in zip(table[sweep.cost], table[sweep.quality], strict=True)
    ]
    on = front_of_pairs(pairs)
    x = axes.costs([c for c, _ in pairs], sweep.cost)
    low, high = min(q for _, q in pairs), max(q for _, q in pairs)
    room = 0.06 * (high - low) or 0.5
    y = axes.upwards(low - room, high + room, sweep.quality)
    body = [pareto.stairs([pairs[i] for i in on], x, y)]
    for i in sorted(range(len(pairs)), key=lambda i: i in on):
        cost, value = pairs[i]
        number, at = int(table["number"].iloc[i]), (x.place(cost), y.place(value))
        says = escape(f"trial {number}: {sweep.quality} {value:.2f}, {sweep.cost} {cost:,.0f}")
        shape = marks.SHAPES[3 if i in on else 0]
        kind = "c0" if i in on else "c8 under small"
        body.append(
            f'<a class="dot {kind}" href="trials/{number}.html" aria-label="{says}">'
            f'<title>{says}</title><g transform="translate({at[0]:.1f} {at[1]:.1f})">'
            f'<path d="{shape}"/></g></a>'
        )
    about = (
        f"{len(pairs)} trials, {len(on)} of them on the front of {sweep.quality} and {sweep.cost}"
    )
    return Markup(axes.svg(x, y, "\n".join(body), "front", about))


def _curve(curves: dict[str, pd.DataFrame], aim: str, by: str) -> Markup:
    series = {
        label: [(float(a), float(b)) for a, b in zip(c[by], c["best"], strict=True)]
        for label, c in curves.items()
        if c["best"].notna().any()
    }
    ends = ", ".join(f"{label} {points[-1][1]:.2f}" for label, points in series.items())
    about = f"Best {aim} so far against {by}; at the end: {ends}"
    return lines.picture(series, "progress", (by, aim), about, stairs=True)


def _map(name: str, sweep: Sweep, keys: tuple[str, str]) -> Table:
    """The best value in each cell of two keys, shaded."""
    cells = map_table(sweep, keys)
    down, along = (map_values(sweep, k) for k in keys)
    known = {
        (str(plain_value(a)), str(plain_value(b))): float(v)
        for a, b, v in zip(cells[keys[0]], cells[keys[1]], cells[sweep.quality], strict=True)
    }
    low, high = min(known.values()), max(known.values())
    short = [k.removeprefix("method.") for k in keys]
    heads = [Column(f"{short[0]} \\ {short[1]}", "text"), *(Column(str(v)) for v in along)]
    led = _winners(name, sweep, keys)
    rows = [
        [
            Cell(str(a)),
            *(
                _shaded(known.get(k), low, high, led.get(k, ""))
                for k in ((str(a), str(b)) for b in along)
            ),
        ]
        for a in down
    ]
    caption = f"Best {sweep.quality} for {short[0]} (rows) and {short[1]} (columns)"
    return Table("map", caption, heads, rows, sorts=False)


def _best(name: str, sweep: Sweep, key: str) -> Table:
    led = _winners(name, sweep, sweep.keys)

    def link(line: Mapping[str, object], column: str) -> str:
        at = led.get(tuple(str(plain_value(line[k])) for k in sweep.keys), "")
        return at if column in (key, sweep.quality) else ""

    caption = f"Best {key} for each setting"
    return plain("best", caption, best_table(sweep, key), link)


def _winners(name: str, sweep: Sweep, keys: Sequence[str]) -> dict[tuple[str, ...], str]:
    """For each setting of some keys the page of the trial that did best."""
    up = sweep.quality.startswith("acc/")
    order = sweep.complete.sort_values(sweep.quality, ascending=not up, kind="stable")
    found: dict[tuple[str, ...], str] = {}
    for number, *values in order[["number", *keys]].itertuples(index=False):
        setting = tuple(str(plain_value(v)) for v in values)
        found.setdefault(setting, links.trial(name, number))
    return found


def _shaded(value: float | None, low: float, high: float, at: str) -> Cell:
    if value is None or math.isnan(value):
        return Cell("-")
    shade = 1 + round((SHADES - 1) * (value - low) / (high - low)) if high > low else 1
    return Cell(f"{value:.2f}", at, kind=f"h{shade}", value=value)


def _importances(weights: pd.DataFrame) -> Table:
    heads = [Column("setting", "text"), Column("importance", about="PED-ANOVA, shares of 1")]
    rows = [
        [Cell(str(k)), Cell(f"{v:.3f}", value=float(v))]
        for k, v in zip(weights["key"], weights["importance"], strict=True)
    ]
    return Table("importances", "How much each setting mattered", heads, rows)


def _trials(name: str, sweep: Sweep) -> Table:
    """Every trial with its settings, and the command that repeats it; each leads to its page."""
    shown = ["number", "end", *sweep.keys, *_quantities(sweep), "seconds"]
    there = [c for c in shown if c in sweep.trials]
    heads = [Column(c.removeprefix("method."), "text" if c == "end" else "number") for c in there]
    rows = [
        [_trial(value, links.trial(name, line[0])) for value in line]
        for line in sweep.trials[there].itertuples(index=False)
    ]
    commands: Sequence[object] = sweep.trials.get("command", pd.Series(dtype=str)).tolist()
    if len(commands) == len(rows):
        heads.append(Column("command", "text"))
        rows = [[*r, Cell(str(c), kind="code nowrap")] for r, c in zip(rows, commands, strict=True)]
    return Table("trials", "Every trial", heads, rows)


def _quantities(sweep: Sweep) -> list[str]:
    return list(dict.fromkeys((sweep.quality, sweep.cost)))


def _trial(value: Any, at: str) -> Cell:
    value = sweep.plain_value(value)
    if isinstance(value, float):
        return Cell("-") if math.isnan(value) else Cell(f"{value:.4g}", at, value=value)
    return Cell(str(value), at)
