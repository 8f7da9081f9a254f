"""What tables are made of, beside them: NAME.manifest.json."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reports.judge import ORIGIN
from reports.table import AVERAGE, PAIRED, Board

KIND = "ringbench tables"
ROW = ("protocol", "backbone", "method", "settings", "configuration", "shots", "dataset")
RUN = ("digest", "dataset", "shots", "seed", *PAIRED, *(o for o in ORIGIN if o != "test_parts"))


def write(boards: Sequence[Board], paths: Sequence[Path], name: str) -> Path:
    """SHA-256 of the files, for each row of the boards its runs, and for each run its digest,
    hashes, commit and versions. Returns the path; same rows, same bytes."""
    facts = {
        "kind": KIND,
        "files": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(paths)},
        "rows": [row for board in boards for row in _rows(board)],
        "runs": {run: told for board in boards for run, told in _runs(board).items()},
    }
    path = paths[0].parent / f"{name}.manifest.json"
    path.write_text(json.dumps(facts, indent=1) + "\n")
    return path


def _rows(board: Board) -> list[dict[str, Any]]:
    found = []
    for row in board.rows[[*ROW, "group"]].to_dict("records"):
        group = row.pop("group")
        mine = board.cells["group"] == group
        if row["dataset"] != AVERAGE:
            mine &= board.cells["dataset"] == row["dataset"]
        found.append({**row, "runs": board.cells[mine]["run_id"].tolist()})
    return found


def _runs(board: Board) -> dict[str, dict[str, Any]]:
    cells = board.cells.set_index("run_id")[list(RUN)].sort_index()
    return {str(run): told for run, told in cells.to_dict("index").items()}
