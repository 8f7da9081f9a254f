"""Commands about data: data check, data fetch, cache ls, cache clear."""

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.run_commands import Json, Quiet, Threads

Root = Annotated[
    str, typer.Option(help="Folder of data sets.", metavar="FOLDER", envvar="RINGBENCH_DATA")
]

data = typer.Typer(
    help="Data sets: check them, fetch them, draw few-shot subsets.", no_args_is_help=True
)
cache = typer.Typer(help="Decoded pixels that are kept on disk.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    data.command()(check)
    data.command()(fetch)
    cache.command("ls")(list_cache)
    cache.command()(clear)
    app.add_typer(data, name="data")
    app.add_typer(cache, name="cache")


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Data sets, collections, folders, files. Without any: all known by name, counted."
        ),
    ] = None,
    root: Root = "",
    shots: Annotated[int, typer.Option(min=0, help="Images a class that a run will ask for.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Count only; open no image.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    threads: Threads = 0,
) -> int:
    """Look for what is missing, unreadable, misnamed, twice there, or in train and test."""
    from harness.cli import console, run_output
    from harness.data import registry
    from harness.data.check import examine_dataset

    run_output.use_threads(threads)
    asked, known = bool(names), registry.collections()
    wanted = [each for name in names or () for each in known.get(name, (name,))]
    with console.Bars(1, quiet or json).shown():
        found = [
            examine_dataset(name, root, shots, asked and not quick, asked)
            for name in wanted or registry.known()
        ]
    if json:
        console.as_json([one.as_dict() for one in found])
    else:
        _show_checkups(found)
    return 1 if any(one.state == "problems" for one in found) else 0


def _show_checkups(found: list[Any]) -> None:
    from harness.cli import console
    from harness.data.readers.validation import SPLITS

    console.table(
        ["data set", "state", "classes", *SPLITS, "hash"],
        [
            [c.name, c.state, c.classes, *(c.counts.get(part, 0) for part in SPLITS), c.digest]
            for c in found
        ],
    )
    if any(c.state == "absent" for c in found):
        console.say("  absent: nothing of it under --root or RINGBENCH_DATA (docs/data.md)")
    rows = [
        [c.name, f.level, f.what, f.count, ", ".join(f.examples) + (", ..." if f.more else "")]
        for c in found
        for f in c.findings
    ]
    if rows:
        console.table(["data set", "", "what", "how many", "such as"], rows)


def fetch(
    name: Annotated[str, typer.Argument(help="A data set of torchvision, such as dtd.")],
    root: Root = "",
    quiet: Quiet = False,
) -> None:
    """Download a data set with torchvision, and make a table of it."""
    from harness.cli import console
    from harness.data.readers import torchvision

    folder = torchvision.root_folder(root)
    with console.Bars(1, quiet).shown():
        table = torchvision.fetch(name, Path(folder))
    console.say(f"{table}: try `ringbench data check {table}`, then data={table}")


def list_cache(json: Json = False) -> None:
    """List the files of decoded pixels, the most recently used first."""
    from harness.cli import console
    from harness.data import pixel_cache
    from harness.spec.paths import cache_folder

    found = pixel_cache.entries()
    if json:
        console.as_json(
            [{"key": e.key, "bytes": e.bytes, "used": e.used, **e.about} for e in found]
        )
        return
    rows = [
        [e.key[:8], e.about["name"], e.about["images"], f"{e.bytes / 1e6:.1f}", pixel_cache.age(e)]
        for e in found
    ]
    console.table(["key", "data set", "images", "MB", "last used"], rows)
    total = sum(e.bytes for e in found)
    console.say(f"{total / 1e9:.2f} of {pixel_cache.limit() / 1e9:g} GB in {cache_folder()}")


def clear(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Of `cache ls`. Without: all.")
    ] = None,
) -> None:
    """Remove decoded pixels; they are made again when a run needs them."""
    from harness.cli import console
    from harness.data import pixel_cache

    count, size = pixel_cache.clear(tuple(keys or ()))
    console.say(f"removed {count} files, {size / 1e6:.1f} MB")
