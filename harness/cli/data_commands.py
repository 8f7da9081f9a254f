"""Commands about data: data check, data fetch, data fewshot, cache ls, cache clear."""

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import Json, Quiet, Root, Threads

data = typer.Typer(
    help="Data sets: check them, fetch them, draw few-shot subsets.", no_args_is_help=True
)
cache = typer.Typer(help="Decoded pixels that are kept on disk.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    data.command()(check)
    data.command()(fetch)
    data.command()(fewshot)
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
    from harness.data.check import check_dataset

    run_output.use_threads(threads)
    asked, known = bool(names), registry.set_collections()
    wanted = [each for name in names or () for each in known.get(name, (name,))]
    with console.ProgressBars(1, quiet or json).shown():
        found = [
            check_dataset(name, root, shots, asked and not quick, asked)
            for name in wanted or registry.known_names()
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
    with console.ProgressBars(1, quiet).shown():
        table = torchvision.fetch_set(name, Path(folder))
    console.say(f"{table}: try `ringbench data check {table}`, then data={table}")


def list_cache(json: Json = False) -> None:
    """List the files of decoded pixels, the most recently used first."""
    from harness.cli import console
    from harness.data import pixel_cache
    from harness.spec.paths import cache_folder

    found = pixel_cache.cached_files()
    if json:
        console.as_json(
            [{"key": e.key, "bytes": e.bytes, "used": e.used, **e.about} for e in found]
        )
        return
    rows = [
        [e.key[:8], e.about["name"], e.about["images"], f"{e.bytes / 1e6:.1f}", e.age]
        for e in found
    ]
    console.table(["key", "data set", "images", "MB", "last used"], rows)
    total = sum(e.bytes for e in found)
    console.say(f"{total / 1e9:.2f} of {pixel_cache.size_limit() / 1e9:g} GB in {cache_folder()}")


def clear(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Of `cache ls`. Without: all.")
    ] = None,
) -> None:
    """Remove decoded pixels; they are made again when a run needs them."""
    from harness.cli import console
    from harness.data import pixel_cache

    count, size = pixel_cache.clear_cache(tuple(keys or ()))
    console.say(f"removed {count} files, {size / 1e6:.1f} MB")


def fewshot(
    data: Annotated[
        list[str], typer.Argument(help="Data sets or collections: see `ringbench ls datasets`.")
    ],
    shots: Annotated[str, typer.Option(help="Images a class.")] = "1,2,4,8,16",
    seeds: Annotated[str, typer.Option(help="As 1,2 or 1-3.")] = "1-3",
    rules: Annotated[str, typer.Option(help="coop, clip_lora or both.")] = "coop",
    val_shots: Annotated[
        int | None, typer.Option(min=0, help="Validation images a class, at most as many as shots.")
    ] = None,
    root: Root = "",
    json: Json = False,
) -> None:
    """Write few-shot subsets beside their split, check those that are there, compare them.

    ringbench data fewshot dtd --rules coop,clip_lora shows how many images two rules share.
    """
    from harness.cli import console
    from harness.data import subset_comparison
    from harness.spec.number_list import parse_numbers

    counts = parse_numbers("--shots", shots, 1)
    found = subset_comparison.store_subsets(
        data,
        subset_comparison.parse_rules(rules),
        counts,
        parse_numbers("--seeds", seeds),
        val_shots,
        root,
    )
    pairs = subset_comparison.compare_subsets(found)
    rows = [
        [
            s.data,
            s.rule,
            s.shots,
            s.seed,
            len(s.drawn.train),
            len(s.drawn.val),
            s.state,
            str(s.file),
        ]
        for s in found
    ]
    heads = ["data set", "rule", "shots", "seed", "train", "val", "state", "file"]
    shared = [[p.data, p.shots, p.one, p.other, p.train, p.val] for p in pairs]
    against = ["data set", "shots", "subset", "against", "train shared %", "val shared %"]
    if json:
        console.as_json(
            {
                "subsets": [dict(zip(heads, row, strict=True)) for row in rows],
                "overlap": [dict(zip(against, row, strict=True)) for row in shared],
            }
        )
        return
    console.table(heads, rows, f"{len(rows)} subsets")
    if shared:
        shown = [[*row[:4], f"{row[4]:.1f}", f"{row[5]:.1f}"] for row in shared]
        console.table(against, shown, "images in common, of the larger subset")
