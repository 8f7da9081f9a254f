"""The tables of a sweep or contest as a function of its trials and their runs: made by ``report
--sweep`` and ``pareto --sweep``, and by ``verify`` again."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.provenance import manifest, sweep_files
from reports.provenance.manifest import TableSet
from reports.provenance.sweep_files import Results, SweepPart, SweepRequest
from reports.results import sweeps
from reports.results.board import runs_frame
from reports.results.sweeps import Sweep
from reports.statistics.mcnemar import FetchPredictions

SWEEP, FRONT, CONTEST = "report --sweep", "pareto --sweep", "report --sweep, of a contest"
COMMANDS = (SWEEP, FRONT, CONTEST)
Seen = dict[str, list[int]]  # the trials of each sweep that a table was made of


def of_sweep(
    sweep: Sweep, wanted: SweepRequest, found: Sequence[SweepPart], runs: Sequence[Run]
) -> TableSet:
    """The tables of ``report --sweep``; ``found`` are all parts of the sweep."""
    settings = {"command": SWEEP, "map": wanted.map, "best": wanted.best}
    return _tables("sweep", settings, sweep_files.texts(found), [sweep], runs)


def of_front(
    sweep: Sweep, cost: str, quality: str, found: SweepPart, runs: Sequence[Run]
) -> TableSet:
    """``found`` is the front of the sweep; its files are called by its stem."""
    settings = {"command": FRONT, "stem": found.stem, "cost": cost, "quality": quality}
    return _tables(found.stem, settings, sweep_files.texts([found]), [sweep], runs)


def of_contest(
    facts: dict[str, Any],
    tuned: Sequence[Sweep],
    found: Results,
    curves: SweepPart,
    runs: Sequence[Run],
) -> TableSet:
    settings = {"command": CONTEST, "contest": facts["name"]}
    texts = sweep_files.contest_texts(facts, found, curves)
    made = _tables("contest", settings, texts, tuned, runs)
    tested = [manifest.tables_of_boards("", {}, {}, [board]) for board in found.boards]
    return replace(
        made,
        rows=[*(row for one in tested for row in one.rows), *made.rows],
        runs=made.runs | {run: told for one in tested for run, told in one.runs.items()},
        read=(*(run for one in tested for run in one.read), *made.read),
    )


def remake_tables(
    settings: dict[str, Any], runs: Sequence[Run], fetch: FetchPredictions
) -> TableSet:
    """The tables of a manifest again, from the trials that are stored here and the runs read.

    What a sweep that has gone on since cannot say any more is left out: the importances of its
    settings. Raises UsageError, KeyError, TypeError or ValueError where no such tables can be made.
    """
    seen: Seen = settings["trials"]
    tuned = [seen_of(sweeps.read_sweep(name), numbers) for name, numbers in seen.items()]
    if settings["command"] == CONTEST:
        facts = sweeps.facts_of(settings["contest"])
        found = sweep_files.contest_results(facts, runs, fetch)
        return of_contest(facts, tuned, found, sweep_files.contest_curves(facts, tuned), runs)
    (sweep,) = tuned
    if settings["command"] == FRONT:
        cost, quality = settings["cost"], settings["quality"]
        part = sweep_files.front_part(sweep, settings["stem"], cost, quality)
        return of_front(sweep, cost, quality, part, runs)
    wanted = SweepRequest(settings["map"], settings["best"])
    parts = [
        p
        for p in sweep_files.sweep_parts(sweep, wanted)
        if p.stem != "importances" or not later(seen)
    ]
    return of_sweep(sweep, wanted, parts, runs)


def seen_of(sweep: Sweep, numbers: Sequence[int]) -> Sweep:
    """A sweep as it was when it had these trials. Raises UsageError where some are gone."""
    table = sweep.trials[sweep.trials["number"].isin(numbers)].reset_index(drop=True)
    if len(table) < len(numbers):
        raise UsageError(f"sweep {sweep.name}: {len(numbers) - len(table)} trials are gone")
    return Sweep(sweep.facts, table.assign(order=range(len(table))))


def later(seen: Seen) -> int:
    """Trials that these sweeps have had since, where they are stored here."""
    there = {name: sweeps.read_sweep(name).trials for name in seen if name in sweeps.names()}
    return sum(len(table) - len(seen[name]) for name, table in there.items())


def _tables(
    name: str,
    settings: dict[str, Any],
    texts: dict[str, str],
    tuned: Sequence[Sweep],
    runs: Sequence[Run],
) -> TableSet:
    """A row a trial: its runs that are in the ledger."""
    behind = [run for sweep in tuned for run in sweep.behind(runs)]
    table = runs_frame(behind, tested=False) if behind else None
    ids = {} if table is None else dict(zip(table["digest"], table["run_id"], strict=True))
    rows = [
        {
            "sweep": sweep.name,
            "trial": row["number"],
            "runs": [ids[d] for d in sweeps.digests_of(row) if d in ids],
        }
        for sweep in tuned
        for row in sweep.trials.to_dict("records")
    ]
    seen: Seen = {sweep.name: sweep.trials["number"].tolist() for sweep in tuned}
    told = {} if table is None else manifest.run_facts(table)
    return TableSet(name, {**settings, "trials": seen}, texts, rows, told, tuple(told))
