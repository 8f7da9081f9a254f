"""What commands about the inside of one run find, as a function of it: made, and made again."""

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

Repeats = tuple[list[Spectrum], list[RingFit]]
COMMANDS = ("anatomy", "redundancy")


def run_title(run: Run) -> str:
    return f"{run.tags['method']} on {run.tags['dataset']}, seed {run.tags['seed']}"


def read_run_anatomy(ledger: Ledger, run: Run) -> Anatomy:
    """The inside of a trained ring. Raises UsageError for a run without one."""
    with ledger.artifacts(run) as folder:
        _, state = adapter_files.read(folder)
        return ring_anatomy.read_anatomy(state, ring_anatomy.rank_usage(folder), run.tags["method"])


def measure_redundancy(
    ledger: Ledger, run: Run, slices: Sequence[int], rings: Sequence[int], as_trained: bool
) -> Repeats:
    """How much the layers of a run repeat each other: of each matrix its spectrum and rings."""
    with ledger.artifacts(run) as folder:
        config, state = adapter_files.read(folder)
    stacked = stack_layers(from_dict(config["spec"]), state, not as_trained)
    spectra = [layer_redundancy.layer_spectrum(name, stack) for name, stack in stacked.items()]
    fitted = [
        f
        for n, stack in stacked.items()
        for f in layer_redundancy.fit_rings(n, stack, slices, rings)
    ]
    return spectra, fitted


def anatomy_tables(found: Anatomy, run: Run) -> TableSet:
    return _tables("anatomy", {}, ring_anatomy.anatomy_tables(found), run)


def redundancy_tables(
    found: Repeats, run: Run, slices: Sequence[int], rings: Sequence[int], as_trained: bool
) -> TableSet:
    settings = {"slices": list(slices), "rings": list(rings), "as_trained": as_trained}
    return _tables("redundancy", settings, layer_redundancy.redundancy_tables(*found), run)


def make(settings: dict[str, Any], runs: Sequence[Run], ledger: Ledger) -> TableSet:
    """The tables of a manifest again. Raises ValueError where they are not of one run."""
    (run,) = runs
    words = {key: value for key, value in settings.items() if key != "command"}
    if settings["command"] == "anatomy":
        return anatomy_tables(read_run_anatomy(ledger, run), run)
    return redundancy_tables(measure_redundancy(ledger, run, **words), run, **words)


def _tables(
    name: str, settings: dict[str, Any], parts: Mapping[str, pd.DataFrame], run: Run
) -> TableSet:
    texts = {f"{n}.csv": t.to_csv(index=False, lineterminator="\n") for n, t in parts.items()}
    told = manifest.run_facts(runs_frame([run], tested=False))
    return TableSet(name, {"command": name, **settings}, texts, [], told, (run.id,))
