"""Tables of the commands that look inside one run, ``anatomy`` and ``redundancy``."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.run import adapter_files
from harness.run.config import from_dict
from harness.tracking.ledger import Ledger
from harness.tracking.run_record import Run
from reports.analyses import layer_redundancy, ring_anatomy
from reports.analyses.layer_redundancy import RingFit, Spectrum
from reports.analyses.layer_stacks import stack_layers
from reports.analyses.ring_anatomy import Anatomy
from reports.provenance import manifest
from reports.provenance.manifest import TableSet
from reports.results.board import runs_frame

Redundancy = tuple[list[Spectrum], list[RingFit]]


def run_title(run: Run) -> str:
    return f"{run.tags['method']} on {run.tags['dataset']}, seed {run.tags['seed']}"


def read_run_anatomy(ledger: Ledger, run: Run) -> Anatomy:
    """Return the anatomy of a trained ring. Raises UsageError for a run without one."""
    with ledger.artifacts(run) as folder:
        _, state = adapter_files.read(folder)
        return ring_anatomy.read_anatomy(state, ring_anatomy.rank_usage(folder), run.tags["method"])


def measure_redundancy(
    ledger: Ledger, run: Run, slices: Sequence[int], rings: Sequence[int], as_trained: bool
) -> Redundancy:
    """Return the spectrum of each stacked matrix of a run, and how well rings fit it."""
    with ledger.artifacts(run) as folder:
        config, state = adapter_files.read(folder)
    stacked = stack_layers(from_dict(config["spec"]), state, not as_trained)
    spectra = [layer_redundancy.layer_spectrum(name, stack) for name, stack in stacked.items()]
    fits = [layer_redundancy.fit_rings(n, stack, slices, rings) for n, stack in stacked.items()]
    return spectra, [fit for of_matrix in fits for fit in of_matrix]


def anatomy_tables(anatomy: Anatomy, run: Run) -> TableSet:
    return _table_set("anatomy", {}, ring_anatomy.anatomy_tables(anatomy), run)


def redundancy_tables(
    redundancy: Redundancy, run: Run, slices: Sequence[int], rings: Sequence[int], as_trained: bool
) -> TableSet:
    settings = {"slices": list(slices), "rings": list(rings), "as_trained": as_trained}
    tables = layer_redundancy.redundancy_tables(*redundancy)
    return _table_set("redundancy", settings, tables, run)


def _rebuild_anatomy(settings: dict[str, Any], runs: Sequence[Run], ledger: Ledger) -> TableSet:
    (run,) = runs
    return anatomy_tables(read_run_anatomy(ledger, run), run)


def _rebuild_redundancy(settings: dict[str, Any], runs: Sequence[Run], ledger: Ledger) -> TableSet:
    (run,) = runs
    options = settings["slices"], settings["rings"], settings["as_trained"]
    return redundancy_tables(measure_redundancy(ledger, run, *options), run, *options)


REBUILDERS = {"anatomy": _rebuild_anatomy, "redundancy": _rebuild_redundancy}


def _table_set(
    name: str, settings: dict[str, Any], tables: Mapping[str, pd.DataFrame], run: Run
) -> TableSet:
    files = {f"{n}.csv": t.to_csv(index=False, lineterminator="\n") for n, t in tables.items()}
    facts = manifest.run_facts(runs_frame([run], tested=False))
    return TableSet(name, {"command": name, **settings}, files, [], facts, (run.id,))
