"""From the ledger to boards, and from sweeps to their files."""

from pathlib import Path

from harness import console
from harness.ledger import open_ledger
from methods.kit.errors import UsageError
from reports.table import Board, boards, pick


def collect(uri: str | None, protocol: str | None, backbone: str | None) -> list[Board]:
    """The boards of the ledger that were asked for. Raises UsageError when there is none."""
    return pick(boards(open_ledger(uri).runs()), protocol, backbone)


def only(found: list[Board]) -> Board:
    """The single board of a picture. Raises UsageError when there are several to choose from."""
    if len(found) > 1:
        there = "; ".join(f"--protocol {b.protocol} --backbone {b.backbone}" for b in found)
        raise UsageError(f"several comparisons are recorded, choose one: {there}")
    return found[0]


def everything(folder: Path, uri: str | None) -> list[Path]:
    """Leaderboard of all that is recorded, and a front for each comparison."""
    from reports import leaderboard, pareto

    found = collect(uri, None, None)
    paths = leaderboard.write(found, folder)
    for board in found:
        place = folder if len(found) == 1 else folder / f"{board.protocol}-{board.backbone}"
        paths += pareto.write(board, place, "params/trainable", board.headline)
    return paths


def sweep(
    name: str, folder: Path, uri: str | None, shown: bool, keys: str | None, best: str | None
) -> list[Path]:
    """All files of a sweep or contest; a contest's table and a table of best values are shown."""
    from reports import leaderboard, studies
    from reports import sweep as sweeps

    paths = studies.write(name, folder, uri, studies.Wanted(keys, best))
    facts = sweeps.facts_of(name)
    if shown and facts["kind"] == "sweep":
        found = sweeps.read(name)
        key = sweeps.best_key(found, best)
        if key is not None:
            table = sweeps.best_table(found, key)
            rows = [[sweeps.plain(v) for v in row] for row in table.to_numpy(dtype=object)]
            place = list(table.columns).index(key)
            for row in rows:
                row[place] = f"{row[place]:g}" if isinstance(row[place], float) else row[place]
                row[-2] = "-" if row[-2] != row[-2] else row[-2]  # only one value was tried
            console.table(list(table.columns), rows, f"{name}: best {key}")
    if shown and facts["kind"] == "contest":
        for board in studies.tested(name, facts, uri):
            console.table(*leaderboard.shown(board), leaderboard.title(board), leaderboard.OPTIONAL)
            for note in leaderboard.legend(board):
                console.say(f"  {note}")
    return paths


def front_of_sweep(
    name: str, cost: str | None, quality: str | None, folder: Path, as_json: bool
) -> None:
    """Draw and show the front of a sweep."""
    from reports import studies
    from reports import sweep as sweeps

    found = sweeps.read(name)
    cost, quality = cost or found.cost, quality or found.quality
    paths = studies.front(found, folder, "pareto", cost, quality)
    table = sweeps.front_table(found, cost, quality)
    best = table[table["front"]].sort_values(cost)
    if as_json:
        console.as_json(
            [{k: sweeps.plain(v) for k, v in r.items()} for r in best.to_dict("records")]
        )
        return
    heads = ["number", cost, quality, *found.keys]
    shown = [best[h].map(sweeps.plain) for h in heads[:3]]
    shown += [best[k].map(lambda v: f"{v:.4g}" if isinstance(v, float) else v) for k in found.keys]
    rows = [list(row) for row in zip(*shown, strict=True)]
    console.table(["trial", *heads[1:]], rows, f"{name}: front of {len(table)} complete trials")
    console.say("written: " + ", ".join(str(p) for p in paths))
