"""The page of a run: what it was, its training curve, its wrong answers, and its origin."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache

from harness.spec.quantities import QUANTITIES
from harness.tracking.run_record import Run
from reports.results.predictions import Answers
from reports.site import charts, content, links
from reports.site.content import Site
from reports.site.html_table import Cell, Column, Table, build_table, pairs_table, text
from reports.site.links import File
from reports.site.pages import confusion
from reports.site.records import ANSWERS, RECORDS, AnswersFile, record_line, run_answers
from reports.site.render import render_page
from reports.site.thumbnails import Thumbnails

NOT_STORED = "the predictions of this run are not stored"
TOO_MANY = (
    f"of more than {content.DETAIL_LIMIT} runs only those of each method's best configuration are"
    " shown in detail"
)


def run_pages(site: Site) -> Iterator[File]:
    """Yield the page of every run, and the records that the site carries along."""
    answers_file, thumbnails, records = AnswersFile(), Thumbnails(), []
    runs = {run.id: run for run in site.runs}
    cached_answers = lru_cache(maxsize=8)(lambda run: run_answers(site.source, runs[run]))
    for run in site.runs:
        shown = run.id in site.detailed
        curve = site.source.curve(run) if shown else []
        answers = run_answers(site.source, run) if shown else None
        zero = site.zero_shot(run)
        zero = None if zero is None or zero.id == run.id else zero
        compared = answers and zero and zero.id in site.detailed
        reference = cached_answers(zero.id) if zero and compared else None
        hidden = thumbnails.why_hidden(run) if answers else NOT_STORED if shown else TOO_MANY
        wrong = [] if hidden or not answers else thumbnails.wrong_answers(run, answers)
        tables = _confusion(answers, zero, reference)
        yield _page(site, run, tables, curve=charts.loss_chart({"loss": curve}), wrong=wrong,
                    hidden=hidden, zero_shot=links.run(zero) if zero else "")  # fmt: skip
        if answers and not hidden:
            yield from thumbnails.new_files(run, answers)
        group = None if answers is None else answers_file.add(answers.table)
        records.append(record_line(run, curve, group))
    yield File(RECORDS, "".join(records).encode())
    yield File(ANSWERS, answers_file.bytes())


def _confusion(answers: Answers | None, zero: Run | None, reference: Answers | None) -> list[Table]:
    if answers is None:
        return []
    parts = answers.parts()
    tables = confusion.confusion_tables(parts)
    if zero and reference:
        tables += confusion.change_tables(parts, reference.parts(), links.run(zero))
    return tables


def _page(site: Site, run: Run, tables: list[Table], **values: object) -> File:
    origin = {"status": run.status, "MLflow run": run.id, **run.tags}
    fixed = [
        _metrics(run),
        pairs_table(
            "spec", "The whole configuration", ("setting", "value"), sorted(run.params.items())
        ),
        pairs_table("record", "Its origin", ("tag", "value"), origin.items(), "long code"),
    ]
    return render_page(
        links.run(run),
        "run.html",
        f"{run.tags['method']} on {run.tags['dataset']}, seed {run.tags['seed']}",
        [*fixed, *tables],
        run=run,
        digest=run.digest,
        started=datetime.fromtimestamp(run.started, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        row=site.rows.get(run.id, ""),
        method_page=links.method(run.tags["method"]),
        names=[t.name for t in tables],
        **values,
    )


def _metrics(run: Run) -> Table:
    """Return every metric to ten digits, accuracies first."""

    def value(metric: str) -> Cell:
        number = run.metrics[metric]
        whole = number.is_integer() and abs(number) < 1e15
        return Cell(f"{number:,.0f}" if whole else f"{number:.10g}", value=number)

    columns: dict[Column | str, Callable[[str], Cell | str]] = {
        text("metric"): lambda m: Cell(m, small=QUANTITIES[m].label if m in QUANTITIES else ""),
        "value": value,
    }
    order = sorted(run.metrics, key=lambda m: (not m.startswith("acc/"), m))
    return build_table("numbers", "What was measured", order, columns, sorts=False)
