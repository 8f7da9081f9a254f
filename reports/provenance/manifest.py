"""What tables are made of, beside them: NAME.manifest.json."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import pandas as pd

from methods.kit.core.errors import UsageError
from reports.results.annotations import ORIGIN_TAGS
from reports.results.board import AVERAGE, PAIRING_HASHES, Board

CODE = (".py", ".html", ".css", ".js")


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def code_hash() -> str:
    """SHA-256 of the code that makes sites: this package with its templates."""
    found = hashlib.sha256()
    for name, data in sorted(_sources(files("reports"), "")):
        found.update(f"{name}\0{sha256_of(data)}\n".encode())
    return found.hexdigest()


def _sources(folder: Traversable, before: str) -> Iterable[tuple[str, bytes]]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from _sources(path, f"{before}{path.name}/")
        elif path.name.endswith(CODE):
            yield f"{before}{path.name}", path.read_bytes()


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


@dataclass(frozen=True)
class TableSet:
    """What a command says in files, as a function of runs.

    ``texts`` are its files by name; ``settings`` make them again of the runs ``read``, among which
    are those that failed, were left out or not chosen. ``rows`` name the runs behind each row;
    ``runs`` has for each of these its digest, hashes, commit and versions.
    """

    name: str
    settings: dict[str, Any]
    texts: dict[str, str]
    rows: list[dict[str, Any]]
    runs: dict[str, dict[str, Any]]
    read: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """A manifest that was read; ``files`` are SHA-256 by name, ``code`` that of the reports."""

    path: Path
    code: str
    settings: dict[str, Any]
    files: dict[str, str]
    rows: list[dict[str, Any]]
    runs: dict[str, dict[str, Any]]
    read: list[str]


def tables_of_boards(
    name: str, settings: dict[str, Any], texts: dict[str, str], boards: Sequence[Board]
) -> TableSet:
    """Tables whose rows are those of boards."""
    return TableSet(
        name,
        settings,
        texts,
        [row for board in boards for row in _rows(board)],
        {run: told for board in boards for run, told in run_facts(board.cells).items()},
        tuple(run for board in boards for run in board.read),
    )


def _rows(board: Board) -> list[dict[str, Any]]:
    found = []
    for row in board.rows[[*ROW, "group"]].to_dict("records"):
        group = row.pop("group")
        mine = board.cells["group"] == group
        if row["dataset"] != AVERAGE:
            mine &= board.cells["dataset"] == row["dataset"]
        found.append({**row, "runs": board.cells[mine]["run_id"].tolist()})
    return found


def run_facts(cells: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """For each run of a table its digest, hashes, commit and versions."""
    told = cells.set_index("run_id")[list(RUN)].sort_index()
    return {str(run): facts for run, facts in told.to_dict("index").items()}


def write_manifest(tables: TableSet, folder: Path, pictures: Sequence[Path] = ()) -> list[Path]:
    """The tables and their manifest; returns all paths, pictures first. Same runs, same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [*pictures, *(folder / name for name in tables.texts)]
    for name, text in tables.texts.items():
        (folder / name).write_text(text)
    facts = {
        "kind": KIND,
        "code": code_hash(),
        "settings": tables.settings,
        "files": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(paths)},
        "rows": tables.rows,
        "runs": tables.runs,
        "read": list(tables.read),
    }
    path = folder / f"{tables.name}{END}"
    path.write_text(json.dumps(facts, indent=1) + "\n")
    return [*paths, path]


def find_manifest(path: Path) -> tuple[Manifest, tuple[str, ...]]:
    """The manifest of a file, and which of its files are meant: this one, or of a manifest all.

    Raises UsageError, also for a file that no manifest beside it lists.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file or folder")
    if path.name.endswith(END):
        found = read_manifest(path)
        return found, tuple(found.files)
    beside = [read_manifest(p) for p in sorted(path.parent.glob(f"*{END}"))]
    for one in beside:
        if path.name in one.files:
            return one, (path.name,)
    raise UsageError(
        f"{path}: no manifest lies beside it that lists it, so nobody knows what it was made of;"
        " write it again with its command, such as `ringbench leaderboard`"
    )


def read_manifest(path: Path) -> Manifest:
    """Raises UsageError for what is no manifest of tables."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts.pop("kind") != KIND:
            raise UsageError(f"{path}: of something else than tables")
        found = Manifest(path, **facts)
        named = (*found.files.items(), *((run, told["digest"]) for run, told in found.runs.items()))
        whole = all(isinstance(word, str) for pair in named for word in pair)
        seen = found.settings.get("trials", {}).values()
        whole &= all(isinstance(number, int) for numbers in seen for number in numbers)
        if not whole or any(Path(name).name != name for name in found.files):
            raise ValueError(path)
        found.settings["command"], set(found.read), [row["runs"] for row in found.rows]
    except UsageError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(
            f"{path}: damaged, or of another version; write it again with its command, such as"
            " `ringbench leaderboard`"
        ) from None
    return found
