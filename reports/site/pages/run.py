"""One page a run: what it was, how it learnt, what it told wrong, and where that is recorded."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

from markupsafe import Markup

from harness.spec import quantities
from harness.tracking.run_record import Run
from reports.results.predictions import Answers
from reports.site import content, links
from reports.site.charts import lines
from reports.site.content import Site
from reports.site.html_table import Cell, Column, Table
from reports.site.links import File
from reports.site.pages import confusion
from reports.site.records import ANSWERS, RECORDS, AnswersFile, Curve, record_line, run_answers
from reports.site.render import render_page
from reports.site.thumbnails import Thumbnails

NOT_STORED = "the predictions of this run are not stored"
TOO_MANY = (
    f"of more than {content.DETAIL_LIMIT} runs only those of each method's best configuration are"
    " shown in detail"
)


def run_pages(site: Site) -> Iterator[File]:
    """Every run, and with them the records that the site carries along."""
    written, thumbs, records = AnswersFile(), Thumbnails(), []
    zero = lru_cache(maxsize=8)(lambda i: run_answers(site.source, by_id[i]))
    by_id = {run.id: run for run in site.runs}
    for run in site.runs:
        shown = run.id in site.detailed
        curve = site.source.curve(run) if shown else []
        answers = run_answers(site.source, run) if shown else None
        against = site.zero_shot(run)
        other = answers and against and against.id != run.id and against.id in site.detailed
        reference = zero(against.id) if against and other else None
        hidden = thumbs.why_not(run) if answers else NOT_STORED if shown else TOO_MANY
        yield _page(site, run, curve, answers, (against, reference), (thumbs, hidden))
        if answers and not hidden:
            yield from thumbs.files(run, answers)
        group = None if answers is None else written.add(answers.table)
        records.append(record_line(run, curve, group))
    yield File(RECORDS, "".join(records).encode())
    yield File(ANSWERS, written.bytes())


def _page(
    site: Site,
    run: Run,
    curve: Curve,
    answers: Answers | None,
    reference: tuple[Run | None, Answers | None],
    images: tuple[Thumbnails, str],
) -> File:
    tags = run.tags
    against, zero = reference
    tables = [_numbers(run), *_recorded(run)]
    parts = answers.parts() if answers else []
    tables += confusion.tables(parts)
    if answers and zero and against:
        tables += confusion.changes(parts, zero.parts(), links.run(against))
    path = links.run(run)
    return render_page(
        path,
        "run.html",
        f"{tags['method']} on {tags['dataset']}, seed {tags['seed']}",
        tables,
        run=run,
        digest=run.digest,
        started=datetime.fromtimestamp(run.started, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        row=site.rows.get(run.id, ""),
        method_page=links.method(tags["method"]),
        curve=_curve(curve),
        names=[t.name for t in tables[3:]],
        wrong=_wrong(run, answers, images),
        hidden=images[1],
        against=links.run(against) if against and against.id != run.id else "",
    )


def _curve(curve: Curve) -> Markup | None:
    if len(curve) < 2:
        return None
    first, last = curve[0][1], curve[-1][1]
    known = [(float(step), loss) for step, loss in curve if math.isfinite(loss)]
    if len(known) < 2:
        return None
    about = f"Training loss over {curve[-1][0]} steps, from {first:.3f} to {last:.3f}"
    return lines.picture({"loss": known}, "curve", ("step", "training loss"), about)


def _wrong(
    run: Run, answers: Answers | None, images: tuple[Thumbnails, str]
) -> list[dict[str, str | float]]:
    thumbs, hidden = images
    if answers is None or hidden:
        return []
    return [
        {
            "src": thumbs.path(run, w.part, w.image),
            "label": w.label,
            "predicted": w.predicted,
            "sure": f"{100 * w.p_predicted:.1f}",
            "true": f"{100 * w.p_label:.1f}",
            "part": w.part,
            "image": str(w.image),
        }
        for w in answers.wrong
    ]


def _numbers(run: Run) -> Table:
    """Every metric to ten digits, accuracies first."""
    order = sorted(run.metrics, key=lambda m: (not m.startswith("acc/"), m))
    rows = [
        [
            Cell(m, small=quantities.QUANTITIES[m].label if m in quantities.QUANTITIES else ""),
            Cell(_full(run.metrics[m]), value=run.metrics[m]),
        ]
        for m in order
    ]
    heads = [Column("metric", "text"), Column("value")]
    return Table("numbers", "What was measured", heads, rows, sorts=False)


def _full(value: float) -> str:
    whole = value.is_integer() and abs(value) < 1e15
    return f"{value:,.0f}" if whole else f"{value:.10g}"


def _recorded(run: Run) -> list[Table]:
    heads = [Column("setting", "text"), Column("value", "text")]
    spec = [[Cell(k), Cell(v, kind="long")] for k, v in sorted(run.params.items())]
    known = {"status": run.status, "run": run.id, **run.tags}
    record = [[Cell(k), Cell(v, kind="long code")] for k, v in known.items()]
    return [
        Table("spec", "The whole configuration", heads, spec, sorts=False),
        Table(
            "record", "Where it comes from", [Column("tag", "text"), heads[1]], record, sorts=False
        ),
    ]
