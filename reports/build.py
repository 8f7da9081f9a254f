"""From the ledger to boards, and from sweeps to their files."""

from pathlib import Path

from harness import console
from harness.ledger import open_ledger
from methods.kit.errors import UsageError
from reports.table import Board, boards, pick


def collect(uri: str | None, protocol: str | None, backbone: str | None) -> list[Board]:
    """The boards of the ledger that were asked for. Raises UsageError when there is none."""
    return pick(boards(open_ledger(uri).runs()), protocol, backbone)


def show_published(uri: str | None, found: list[Board]) -> None:
    """What papers report of the configurations on the boards, if anything."""
    from reports import published

    shown = {(board.protocol, board.backbone) for board in found}
    theirs = [
        b
        for b in published.beside(open_ledger(uri).runs())
        if (b.theirs.protocol, b.theirs.backbone) in shown
    ]
    if theirs:
        cells = published.coloured(published.rows(theirs))
        console.table(published.HEADS, cells, "ours beside published numbers", ("source", "by"))


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


def sweep(name: str, folder: Path, uri: str | None, shown: bool) -> list[Path]:
    """All files of a sweep or contest; a contest's table is shown."""
    from reports import leaderboard, studies
    from reports.sweep import facts_of

    paths = studies.write(name, folder, uri)
    facts = facts_of(name)
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
