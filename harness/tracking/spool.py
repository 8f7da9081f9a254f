"""Results on disk before they are anywhere else: written whole, or not there at all.

An entry is a folder that appears by a rename after everything in it was flushed, so a kill at any
moment leaves either a complete entry or a scrap that the next writer removes.
"""

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.run import adapter_files
from harness.run.result import Result
from harness.spec.atomic_files import flush
from methods.kit.core.errors import UsageError

RESULT = "result.json"
PREDICTIONS = "predictions.parquet"
TABLES = "tables.parquet"
SCRAP = ".scrap-"
SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """A result that waits to be delivered."""

    folder: Path
    result: dict[str, Any]

    @property
    def id(self) -> str:
        return self.folder.name

    def artifacts(self) -> list[Path]:
        return sorted(p for p in self.folder.iterdir() if p.name != RESULT)


def write(root: Path, result: Result, parent: str | None = None) -> Entry:
    """Put a result into the spool. Raises UsageError when the disk does not take it."""
    name = f"{result.spec.digest()}-{time.time_ns()}-{uuid.uuid4().hex[:6]}"
    scrap = root / f"{SCRAP}{os.getpid()}-{name}"
    try:
        scrap.mkdir(parents=True)
        _fill(scrap, result, parent)
        for path in scrap.iterdir():
            flush(path)
        flush(scrap)
        final = scrap.rename(root / name)
        flush(root)
    except OSError as error:
        shutil.rmtree(scrap, ignore_errors=True)
        raise UsageError(
            f"{root}: the result of run {result.spec.digest()} could not be written"
            f" ({error.strerror or error}); free some space and run the same command again"
        ) from None
    return _entry(final)


def waiting(root: Path) -> Iterator[Entry]:
    """Entries that are not delivered yet, oldest first; scraps of dead writers are removed.

    Raises UsageError for an entry that something else has damaged.
    """
    if not root.is_dir():
        return
    for folder in sorted(root.iterdir(), key=lambda p: p.name.split("-")[1:2]):
        if folder.name.startswith(SCRAP):
            if not _alive(folder):
                shutil.rmtree(folder, ignore_errors=True)
        elif (folder / RESULT).is_file():
            yield _entry(folder)


def _entry(folder: Path) -> Entry:
    try:
        return Entry(folder, json.loads((folder / RESULT).read_text()))
    except ValueError:
        raise UsageError(f"{folder}: not a result any more; move it out of the spool") from None


def remove(entry: Entry) -> None:
    """Forget an entry: it leaves by a rename, so a kill cannot leave half of one."""
    scrap = entry.folder.with_name(f"{SCRAP}0-{entry.id}")
    entry.folder.rename(scrap)
    shutil.rmtree(scrap, ignore_errors=True)


def _alive(scrap: Path) -> bool:
    pid = scrap.name.removeprefix(SCRAP).partition("-")[0]
    if not pid.isdecimal() or int(pid) == 0:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def stored(result: Result, parent: str | None = None) -> dict[str, Any]:
    """A result as the spool keeps it: everything but what has files of its own."""
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
        "looks": [asdict(look) for look in result.looks],
        "counts": asdict(result.counts) if result.counts else None,
    }


def _fill(folder: Path, result: Result, parent: str | None) -> None:
    spec = result.spec
    kept = stored(result, parent)
    (folder / RESULT).write_text(json.dumps(kept))
    (folder / "spec.json").write_text(json.dumps(spec.as_dict(), indent=2) + "\n")
    if result.predictions:
        about = {"parameters": kept["counts"], "tags": result.tags}
        adapter_files.write(folder, spec, result.state, about)
        pq.write_table(predictions_table(result), folder / PREDICTIONS)
    if result.tables:
        pq.write_table(long_table(result), folder / TABLES)
    if result.losses:
        steps = pa.array(range(1, len(result.losses) + 1), pa.int32())
        curve = pa.table({"step": steps, "loss": pa.array(result.losses, pa.float64())})
        pq.write_table(curve, folder / "curve.parquet")
    if result.trace:
        (folder / "error.txt").write_text(result.trace)


def predictions_table(result: Result) -> pa.Table:
    """One row a test image: part, image id, names, and the probability of both."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("part", "image", "label", "predicted", "p_label", "p_predicted")
    }
    for p in result.predictions:
        names = result.classnames[p.part]
        columns["part"] += [p.part] * len(p.ids)
        columns["image"] += p.ids.tolist()
        columns["label"] += [names[i] for i in p.label]
        columns["predicted"] += [names[i] for i in p.predicted]
        columns["p_label"] += p.p_label.tolist()
        columns["p_predicted"] += p.p_predicted.tolist()
    kinds = (pa.string(), pa.int64(), pa.string(), pa.string(), pa.float32(), pa.float32())
    return pa.table({n: pa.array(v, k) for (n, v), k in zip(columns.items(), kinds, strict=True)})


def long_table(result: Result) -> pa.Table:
    """One row a number that the method reports: table, row, column, value."""
    columns: dict[str, list[Any]] = {name: [] for name in ("table", "row", "column", "value")}
    for table, rows in result.tables.items():
        for row, numbers in rows.items():
            columns["table"] += [table] * len(numbers)
            columns["row"] += [row] * len(numbers)
            columns["column"] += list(numbers)
            columns["value"] += list(numbers.values())
    kinds = (pa.string(), pa.string(), pa.string(), pa.float64())
    return pa.table({n: pa.array(v, k) for (n, v), k in zip(columns.items(), kinds, strict=True)})
