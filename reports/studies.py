"""All pictures and tables of a sweep or of a contest, written to a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.ledger import open_ledger
from methods.kit.errors import UsageError
from reports import comparing, leaderboard, rivals
from reports import sweep as sweeps
from reports.compare import Comparison
from reports.sweep import Sweep
from reports.table import Board, boards


@dataclass(frozen=True)
class Wanted:
    """Of a sweep: two keys to draw a map over, and the key to show the best value of."""

    map: str | None = None
    best: str | None = None


@dataclass(frozen=True)
class Results:
    """What the winners of a contest reached, and each against the first."""

    boards: list[Board]
    against: list[Comparison]


def write(name: str, folder: Path, wanted: Wanted = Wanted()) -> list[Path]:
    """Everything there is to say about a sweep; returns the files."""
    sweep = sweeps.read(name)
    curve = sweeps.curve(sweep, sweep.facts["method"])
    best = sweeps.best_key(sweep, wanted.best)
    keys = sweeps.chosen_keys(sweep, wanted.map) if wanted.map else sweeps.map_keys(sweep)
    return [
        *front(sweep, folder, "front"),
        *_map(sweep, keys, folder),
        *([] if best is None else _csv(sweeps.best_table(sweep, best), [folder / "best.csv"])),
        *_importances(sweep, folder),
        *_curves(curve, sweep.facts["objectives"][0], _title(sweep), False, folder),
    ]


def front(
    sweep: Sweep, folder: Path, stem: str, cost: str | None = None, quality: str | None = None
) -> list[Path]:
    """The front of a sweep with its hypervolume over trials."""
    from reports import draw_sweep  # matplotlib is slow to import

    cost, quality = cost or sweep.cost, quality or sweep.quality
    table = sweeps.front_table(sweep, cost, quality)
    paths = _paths(folder, stem)
    draw_sweep.front(table, cost, quality, _title(sweep), paths[0])
    return _csv(table, paths)


def results(facts: dict[str, Any], uri: str | None) -> Results:
    """Of a contest's winners. Raises UsageError before they are tested."""
    digests = {d for m in facts["methods"] for d in m["digests"]}
    runs = [r for r in open_ledger(uri).runs() if r.digest in digests and r.tested]
    found = boards(runs) if runs else []
    if not found:
        name = facts["name"]
        raise UsageError(f"contest {name}: no winner is tested yet; the same command goes on")
    return Results(found, rivals.comparisons(facts, uri))


def write_contest(facts: dict[str, Any], found: Results, folder: Path) -> list[Path]:
    """The tuning curves of a contest, its leaderboard, and the winners compared."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [(m["label"], sweeps.read(m["sweep"])) for m in facts["methods"]]
    table = pd.concat([sweeps.curve(sweep, method) for method, sweep in parts])
    timed = "minutes" in facts["goal"]
    written = _curves(table, facts["objective"], f"{facts['name']}: {facts['goal']} each", timed,
                      folder)  # fmt: skip
    title = f"contest {facts['name']}"
    paired = comparing.write(found.against, title, folder) if found.against else []
    return [*leaderboard.write(found.boards, folder), *paired, *written]


def _map(sweep: Sweep, keys: tuple[str, str] | None, folder: Path) -> list[Path]:
    from reports import draw_sweep

    if keys is None:
        return []
    cells = sweeps.map_table(sweep, keys)
    values = (sweeps.grid(sweep, keys[0]), sweeps.grid(sweep, keys[1]))
    paths = _paths(folder, "map")
    draw_sweep.heat_map(cells, keys, values, sweep.quality, _title(sweep), paths[0])
    return _csv(cells, paths)


def _importances(sweep: Sweep, folder: Path) -> list[Path]:
    from reports import draw_sweep

    table = sweeps.importances(sweep)
    if table.empty:
        return []
    paths = _paths(folder, "importances")
    draw_sweep.importances(table, _title(sweep), paths[0])
    return _csv(table, paths)


def _curves(table: pd.DataFrame, aim: str, title: str, timed: bool, folder: Path) -> list[Path]:
    from reports import draw_sweep

    paths = _paths(folder, "curves")
    draw_sweep.curves(table, aim, "seconds" if timed else "trial", title, paths[0])
    return _csv(table, paths)


def _title(sweep: Sweep) -> str:
    cells = sweep.facts["cells"]
    data = ", ".join(dict.fromkeys(d for d, _ in cells))
    seeds = len({s for _, s in cells})
    return f"{sweep.name}: {sweep.facts['protocol']} on {data}, {seeds} seed" + "s" * (seeds > 1)


def _paths(folder: Path, stem: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [folder / f"{stem}.{kind}" for kind in ("png", "svg", "pdf", "csv")]


def _csv(table: pd.DataFrame, paths: list[Path]) -> list[Path]:
    paths[-1].write_text(table.to_csv(index=False, lineterminator="\n"))
    return paths
