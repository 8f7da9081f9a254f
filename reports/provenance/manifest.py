"""Manifests: NAME.manifest.json says what the tables beside it were made of."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pandas as pd
from pydantic import AfterValidator, TypeAdapter

from harness.spec.atomic_files import write_text
from methods.kit.core.errors import UsageError
from reports.results.annotations import ORIGIN_TAGS
from reports.results.board import AVERAGE, PAIRING_HASHES, Board

CODE = (".py", ".html", ".css", ".js")
KIND, END = "ringbench tables", ".manifest.json"
ROW = ("protocol", "backbone", "method", "settings", "configuration", "shots", "dataset")
RUN = (
    "digest",
    "dataset",
    "shots",
    "seed",
    *PAIRING_HASHES,
    *(o for o in ORIGIN_TAGS if o != "test_parts"),
)
M = TypeVar("M")


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def code_hash() -> str:
    """Return the SHA-256 of the code that makes reports: this package with its templates."""
    listing = (f"{name}\0{sha256_of(data)}\n" for name, data in sorted(_code(files("reports"), "")))
    return sha256_of("".join(listing).encode())


def _code(folder: Traversable, prefix: str) -> Iterable[tuple[str, bytes]]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from _code(path, f"{prefix}{path.name}/")
        elif path.name.endswith(CODE):
            yield f"{prefix}{path.name}", path.read_bytes()


def load_manifest(manifest: type[M], path: Path, kind: str, remedy: str) -> M:
    """Read and validate a manifest. Raises UsageError for one of another kind or a damaged one."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if (found := facts.pop("kind")) == kind:
            return TypeAdapter(manifest).validate_json(json.dumps(facts), strict=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(f"{path}: damaged, or of another version; {remedy}") from None
    raise UsageError(f"{path}: is the manifest of something else ({found!r}), not of {kind!r}")


@dataclass(frozen=True)
class TableSet:
    """The files of one command, as a function of runs.

    ``texts`` are the files by name; ``settings`` rebuild them from the runs ``read``, which include
    failed runs and runs that were left out or not chosen. ``rows`` name the runs behind each row;
    ``runs`` has the digest, hashes, commit and versions of each of these.
    """

    name: str
    settings: dict[str, Any]
    texts: dict[str, str]
    rows: list[dict[str, Any]]
    runs: dict[str, dict[str, Any]]
    read: tuple[str, ...]


def _file_name(name: str) -> str:
    if Path(name).name != name:
        raise ValueError(f"{name!r} is not the name of a file beside the manifest")
    return name


def _settings(settings: dict[str, Any]) -> dict[str, Any]:
    TypeAdapter(str).validate_python(settings["command"], strict=True)
    TypeAdapter(dict[str, list[int]]).validate_python(settings.get("trials", {}), strict=True)
    return settings


@dataclass(frozen=True)
class Manifest:
    """The manifest of a table set.

    ``files`` are SHA-256 hashes by name; ``code`` is the hash of the reports' code.
    """

    code: str
    settings: Annotated[dict[str, Any], AfterValidator(_settings)]
    files: dict[Annotated[str, AfterValidator(_file_name)], str]
    rows: list[dict[str, Any]]
    runs: dict[str, dict[str, Any]]
    read: list[str]


def tables_of_boards(
    name: str, settings: dict[str, Any], texts: dict[str, str], boards: Sequence[Board]
) -> TableSet:
    """Return the table set of a command whose rows are those of boards."""
    return TableSet(
        name,
        settings,
        texts,
        [row for board in boards for row in _rows(board)],
        {run: facts for board in boards for run, facts in run_facts(board.cells).items()},
        tuple(run for board in boards for run in board.read),
    )


def _rows(board: Board) -> list[dict[str, Any]]:
    rows = []
    for row in board.rows[[*ROW, "group"]].to_dict("records"):
        cells = board.cells[board.cells["group"] == row.pop("group")]
        if row["dataset"] != AVERAGE:
            cells = cells[cells["dataset"] == row["dataset"]]
        rows.append({**row, "runs": cells["run_id"].tolist()})
    return rows


def run_facts(cells: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the digest, hashes, commit and versions of each run in a table of runs."""
    facts = cells.set_index("run_id")[list(RUN)].sort_index()
    return {str(run): values for run, values in facts.to_dict("index").items()}


def write_manifest(tables: TableSet, folder: Path, pictures: Sequence[Path] = ()) -> list[Path]:
    """Write the tables and their manifest; the same runs give the same bytes.

    Returns all paths, pictures first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [*pictures, *(folder / name for name in tables.texts)]
    for name, text in tables.texts.items():
        (folder / name).write_text(text)
    facts = {
        "kind": KIND,
        "code": code_hash(),
        "settings": tables.settings,
        "files": {p.name: sha256_of(p.read_bytes()) for p in sorted(paths)},
        "rows": tables.rows,
        "runs": tables.runs,
        "read": list(tables.read),
    }
    path = folder / f"{tables.name}{END}"
    write_text(path, json.dumps(facts, indent=1) + "\n")
    return [*paths, path]


def find_manifest(path: Path) -> tuple[Path, Manifest, tuple[str, ...]]:
    """Return the manifest of a file, its path, and the names to check.

    The names are the file itself, or all files of a manifest. Raises UsageError, also for a file
    that no manifest beside it lists.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file or folder")
    if path.name.endswith(END):
        manifest = read_manifest(path)
        return path, manifest, tuple(manifest.files)
    for beside in sorted(path.parent.glob(f"*{END}")):
        manifest = read_manifest(beside)
        if path.name in manifest.files:
            return beside, manifest, (path.name,)
    raise UsageError(
        f"{path}: no manifest beside it lists this file, so its runs are unknown;"
        " write it again with its command, such as `ringbench leaderboard`"
    )


def read_manifest(path: Path) -> Manifest:
    """Read a manifest of tables. Raises UsageError for anything else."""
    remedy = "write it again with its command, such as `ringbench leaderboard`"
    return load_manifest(Manifest, path, KIND, remedy)
