"""The earlier runs that a run takes weights from.

- Stages (`Method.stages`) are trained when they are missing (stages.py).
- ``method.start`` names a recorded run whose weights initialize this one (warm_start.py).
- ``method.sources`` names recorded runs of the same method that this one merges.

A spec names a recorded run in full, ``RUN-WEIGHTS-CONFIGURATION``: its run id, a hash of its
weights file, and the configuration that repetitions of the spec share. So the run id of a spec
depends on the very weights that it takes. tracking/source_lookup.py finds the run in the ledger and
copies its files to the home folder, where they are read from here.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.run import config
from harness.spec.paths import home_folder
from harness.spec.spec import Spec
from methods.kit.core.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

SOURCE_ID = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})-([0-9a-f]{16})")
RECORD = "record.json"
START, SOURCES = "method.start", "method.sources"
CELL_FIELDS = ("name", "shots", "val_shots", "subset", "short_classes")  # with the seed: the subset


STAGE_SECONDS, STAGE_BYTES = "time/stages_seconds", "memory/stages_bytes"


@dataclass(frozen=True)
class SourceRun:
    """A finished run that another one takes weights from; stages have no tags and no MLflow id."""

    spec: Spec
    state: "Mapping[str, Tensor]" = field(repr=False)
    metrics: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""

    @property
    def digest(self) -> str:
        return self.tags["digest"]


def source_key(spec: Spec) -> str:
    """Return the setting that names the recorded sources of a spec."""
    return START if spec.method.start else SOURCES


def recorded_sources(spec: Spec) -> dict[str, SourceRun]:
    """Return the recorded runs that a spec names, by their full ids. Raises UsageError."""
    words = (spec.method.start,) if spec.method.start else spec.method.runs
    return {word: _named(word, source_key(spec)) for word in words}


def _named(word: str, key: str) -> SourceRun:
    match = SOURCE_ID.fullmatch(word)
    if match is None:
        raise UsageError(
            f"{key}: {word!r} is no full id;"
            " harness.tracking.source_lookup.resolve_source_runs gives it"
        )
    folder = source_folder(match[1], match[2])
    if not (folder / RECORD).is_file():
        raise UsageError(f"{key}: run {match[1]} is not stored in {folder.parent}")
    return read_source(folder)


def source_folder(digest: str, weights: str) -> Path:
    """Return the folder of a source's files."""
    return home_folder() / "starts" / f"{digest}-{weights}"


def weights_hash(path: Path) -> str:
    """Return 16 hex digits of the hash of a weights file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@lru_cache(maxsize=8)
def read_source(folder: Path) -> SourceRun:
    """Read a stored source. Raises UsageError for a weights file that was changed."""
    from harness.run import adapter_files  # imports torch, which reports do not need

    facts, state = adapter_files.read(folder)
    if weights_hash(folder / adapter_files.WEIGHTS) != folder.name.partition("-")[2]:
        raise UsageError(f"{folder}: its weights were changed; remove the folder")
    record: dict[str, Any] = json.loads((folder / RECORD).read_text())
    spec = config.from_dict(facts["spec"])
    metrics = {"time/train_seconds": record["seconds"]}
    return SourceRun(spec, state, metrics, facts["tags"], record["run_id"])


def shared_configuration(spec: Spec, source: Spec) -> str:
    """Return the last part of a full id: what repetitions of a spec share of their sources.

    That is the source's configuration where each repetition has a source of its own data, shots and
    seed, else the run id of the one source that all have.
    """
    own = all(getattr(spec.data, key) == getattr(source.data, key) for key in CELL_FIELDS)
    return source.configuration() if own and spec.seed == source.seed else source.digest()


def source_costs(
    stages: Collection[SourceRun], recorded: Collection[SourceRun]
) -> dict[str, float]:
    """Return what the training of the earlier runs took: seconds, and peak bytes of stages.

    Stages include those of their own stages.
    """
    costs: dict[str, float] = {}
    if stages:
        each = [stage.metrics for stage in stages]
        costs[STAGE_SECONDS] = sum(m["time/train_seconds"] + m.get(STAGE_SECONDS, 0) for m in each)
        costs[STAGE_BYTES] = max(max(m["memory/peak_bytes"], m.get(STAGE_BYTES, 0)) for m in each)
    if recorded:
        costs["time/source_seconds"] = sum(run.metrics["time/train_seconds"] for run in recorded)
    return costs
