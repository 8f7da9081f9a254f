"""Results on disk that are not in MLflow yet: written whole, or not at all.

A record is a folder that appears by a rename after everything in it was flushed. A kill at any
moment leaves a complete record, or a partial folder that the next reader removes.
"""

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from harness.spec.atomic_files import atomic_path
from methods.kit.core.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.run.result import Result

RESULT = "result.json"
PREDICTIONS = "predictions.parquet"
TABLES = "tables.parquet"
PARTIAL = ".scrap-"  # begins the name of a folder that is being written or removed
SCHEMA = 1


@dataclass(frozen=True)
class PendingRecord:
    """A result that waits to be delivered."""

    folder: Path
    result: dict[str, Any]

    @property
    def id(self) -> str:
        return self.folder.name

    def artifacts(self) -> list[Path]:
        return sorted(p for p in self.folder.iterdir() if p.name != RESULT)


def write(root: Path, result: "Result", parent: str | None = None) -> PendingRecord:
    """Write a record of a result. Raises UsageError when the disk does not take it."""
    name = f"{result.spec.digest()}-{time.time_ns()}-{uuid.uuid4().hex[:6]}"
    partial = root / f"{PARTIAL}{os.getpid()}-{name}"
    try:
        with atomic_path(root / name, partial):
            partial.mkdir()
            _fill(partial, result, parent)
    except OSError as error:
        raise UsageError(
            f"{root}: the result of run {result.spec.digest()} could not be written"
            f" ({error.strerror or error}); free some space and run the same command again"
        ) from None
    return _read(root / name)


def waiting(root: Path) -> Iterator[PendingRecord]:
    """Yield the pending records, oldest first, and remove partial folders of dead writers.

    Raises UsageError for a record that something else has damaged.
    """
    if not root.is_dir():
        return
    for folder in sorted(root.iterdir(), key=lambda p: p.name.split("-")[1:2]):
        if folder.name.startswith(PARTIAL):
            if not _has_living_writer(folder):
                shutil.rmtree(folder, ignore_errors=True)
        elif (folder / RESULT).is_file():
            yield _read(folder)


def remove(record: PendingRecord) -> None:
    """Remove a record, by a rename first, so that a kill leaves no half of it."""
    partial = record.folder.with_name(f"{PARTIAL}0-{record.id}")
    record.folder.rename(partial)
    shutil.rmtree(partial, ignore_errors=True)


def stored(result: "Result", parent: str | None = None) -> dict[str, Any]:
    """Return the content of ``result.json``: everything that has no file of its own."""
    spec = result.spec
    return {
        "schema_version": SCHEMA,
        "digest": spec.digest(),
        "status": result.status,
        "error": result.error,
        "parent": parent,
        "started": result.started,
        "ended": result.ended,
        "spec": spec.as_dict(),
        "metrics": result.metrics,
        "tags": result.tags,
        "losses": result.losses,
        "looks": [asdict(checkpoint) for checkpoint in result.checkpoints],
        "counts": asdict(result.counts) if result.counts else None,
    }


def predictions_table(result: "Result") -> "pa.Table":
    """Return a row per test image: part, image id, class names, and the probability of both."""
    import pyarrow as pa

    kinds = {"part": pa.string(), "image": pa.int64(), "label": pa.string()}
    kinds |= {"predicted": pa.string(), "p_label": pa.float32(), "p_predicted": pa.float32()}
    columns: dict[str, list[Any]] = {name: [] for name in kinds}
    for p in result.predictions:
        names = result.classnames[p.part]
        columns["part"] += [p.part] * len(p.ids)
        columns["image"] += p.ids.tolist()
        columns["label"] += [names[i] for i in p.label]
        columns["predicted"] += [names[i] for i in p.predicted]
        columns["p_label"] += p.p_label.tolist()
        columns["p_predicted"] += p.p_predicted.tolist()
    return pa.table({name: pa.array(columns[name], kind) for name, kind in kinds.items()})


def _read(folder: Path) -> PendingRecord:
    try:
        return PendingRecord(folder, json.loads((folder / RESULT).read_text()))
    except ValueError:
        raise UsageError(f"{folder}: not a result any more; move it out of the spool") from None


def _has_living_writer(partial: Path) -> bool:
    pid = partial.name.removeprefix(PARTIAL).partition("-")[0]
    return pid.isdecimal() and int(pid) > 0 and psutil.pid_exists(int(pid))


def _fill(folder: Path, result: "Result", parent: str | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from harness.run import adapter_files

    spec, record = result.spec, stored(result, parent)
    (folder / RESULT).write_text(json.dumps(record))
    (folder / "spec.json").write_text(json.dumps(spec.as_dict(), indent=2) + "\n")
    if result.predictions:
        extra = {"parameters": record["counts"], "tags": result.tags}
        adapter_files.write(folder, spec, result.state, extra)
        pq.write_table(predictions_table(result), folder / PREDICTIONS)
    if result.tables:
        pq.write_table(_method_tables(result), folder / TABLES)
    if result.losses:
        steps = pa.array(range(1, len(result.losses) + 1), pa.int32())
        curve = pa.table({"step": steps, "loss": pa.array(result.losses, pa.float64())})
        pq.write_table(curve, folder / "curve.parquet")
    if result.trace:
        (folder / "error.txt").write_text(result.trace)


def _method_tables(result: "Result") -> "pa.Table":
    """Return a row per number that the method reports: table, row, column, value."""
    import pyarrow as pa

    numbers = [
        {"table": table, "row": row, "column": column, "value": value}
        for table, rows in result.tables.items()
        for row, values in rows.items()
        for column, value in values.items()
    ]
    texts = [(name, pa.string()) for name in ("table", "row", "column")]
    return pa.Table.from_pylist(numbers, pa.schema([*texts, ("value", pa.float64())]))
