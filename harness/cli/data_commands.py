"""Commands about data: data check, data fetch, data fewshot, cache ls, cache clear."""

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli import options

data = typer.Typer(
    help="Check and download data sets, draw few-shot subsets.", no_args_is_help=True
)
cache = typer.Typer(help="List and clear the cache of decoded pixels.", no_args_is_help=True)


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
        typer.Argument(help="Data sets, collections, folders or files; default: all known sets."),
    ] = None,
    root: options.Root = "",
    shots: Annotated[int, typer.Option(min=0, help="Images per class that runs will use.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Count images; open none.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    threads: options.Threads = 0,
) -> int:
    """Look for missing, unreadable, misnamed and duplicate images, also across train and test.

    Sets that are not named are only counted.
    """
    from harness.cli import console
    from harness.data import registry
    from harness.data.check import check_dataset
    from harness.model import run_options

    run_options.use(run_options.RunOptions(threads=threads))
    collections = registry.set_collections()
    named = [member for name in names or () for member in collections.get(name, (name,))]
    with console.ProgressBars(1, quiet or json).shown():
        reports = [
            check_dataset(name, root, shots, bool(names) and not quick, bool(names))
            for name in named or registry.known_names()
        ]
    if json:
        console.as_json([report.as_dict() for report in reports])
    else:
        _show_reports(reports)
    return 1 if any(report.state == "problems" for report in reports) else 0


def _show_reports(reports: list[Any]) -> None:
    from harness.cli import console
    from harness.data.readers.validation import SPLITS

    columns = ["data set", "state", "classes", *SPLITS, "hash"]
    rows = [
        [r.name, r.state, r.classes, *(r.counts.get(part, 0) for part in SPLITS), r.digest]
        for r in reports
    ]
    console.table(columns, rows)
    if any(r.state == "absent" for r in reports):
        console.say("  absent: nothing of it under --root or RINGBENCH_DATA (docs/data.md)")
    rows = [
        [r.name, f.level, f.what, f.count, ", ".join(f.examples) + (", ..." if f.more else "")]
        for r in reports
        for f in r.findings
    ]
    if rows:
        console.table(["data set", "", "what", "count", "examples"], rows)


def fetch(
    name: Annotated[str, typer.Argument(help="A data set of torchvision, such as dtd.")],
    root: options.Root = "",
    quiet: options.Quiet = False,
) -> None:
    """Download a data set with torchvision and write a table of its images."""
    from harness.cli import console
    from harness.data.readers import torchvision

    folder = torchvision.root_folder(root)
    with console.ProgressBars(1, quiet).shown():
        table = torchvision.fetch_set(name, Path(folder))
    console.say(f"{table}: try `ringbench data check {table}`, then data={table}")


def fewshot(
    data: Annotated[
        list[str], typer.Argument(help="Data sets or collections: see `ringbench ls datasets`.")
    ],
    shots: Annotated[str, typer.Option(help="Images per class.")] = "1,2,4,8,16",
    seeds: Annotated[str, typer.Option(help="Random seeds, as 1,2 or 1-3.")] = "1-3",
    rules: Annotated[str, typer.Option(help="coop, clip_lora or both.")] = "coop",
    val_shots: Annotated[
        int | None, typer.Option(min=0, help="Validation images per class, at most `--shots`.")
    ] = None,
    root: options.Root = "",
    json: options.Json = False,
) -> None:
    """Write few-shot subsets next to their split, check existing ones and compare them.

    `ringbench data fewshot dtd --rules coop,clip_lora` shows how many images two rules share.
    """
    from harness.cli import console
    from harness.data import subset_comparison as subsets
    from harness.spec.number_list import parse_numbers

    stored = subsets.store_subsets(
        data,
        subsets.parse_rules(rules),
        parse_numbers("--shots", shots, 1),
        parse_numbers("--seeds", seeds),
        val_shots,
        root,
    )
    columns = ["data set", "rule", "shots", "seed", "train", "val", "state", "file"]
    rows = [
        [s.data, s.rule, s.shots, s.seed, len(s.drawn.train), len(s.drawn.val), s.state,
         str(s.file)]
        for s in stored
    ]  # fmt: skip
    pair_columns = ["data set", "shots", "subset", "against", "train shared %", "val shared %"]
    pairs = [list(vars(pair).values()) for pair in subsets.compare_subsets(stored)]
    if json:
        overlap = console.records(pair_columns, pairs)
        console.as_json({"subsets": console.records(columns, rows), "overlap": overlap})
        return
    console.table(columns, rows, f"{len(rows)} subsets")
    if pairs:
        rows = [[*names, f"{train:.1f}", f"{val:.1f}"] for *names, train, val in pairs]
        console.table(pair_columns, rows, "images in common, of the larger subset")


def list_cache(json: options.Json = False) -> None:
    """List the files of decoded pixels, the most recently used first."""
    from harness.cli import console
    from harness.data import pixel_cache
    from harness.spec.paths import cache_folder

    files = pixel_cache.cached_files()
    if json:
        entries = [{"key": e.key, "bytes": e.bytes, "used": e.used, **e.about} for e in files]
        return console.as_json(entries)
    rows = [
        [e.key[:8], e.about["name"], e.about["images"], f"{e.bytes / 1e6:.1f}", e.age]
        for e in files
    ]
    console.table(["key", "data set", "images", "MB", "last used"], rows)
    used = sum(e.bytes for e in files) / 1e9
    limit = pixel_cache.size_limit() / 1e9
    return console.say(f"{used:.2f} of {limit:g} GB in {cache_folder()}")


def clear(
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY", help="Keys of `ringbench cache ls`; default: all."),
    ] = None,
) -> None:
    """Remove decoded pixels; a run that needs them decodes them again."""
    from harness.cli import console
    from harness.data import pixel_cache

    count, size = pixel_cache.clear_cache(tuple(keys or ()))
    console.say(f"removed {count} files, {size / 1e6:.1f} MB")
