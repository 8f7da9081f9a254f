"""Commands about few-shot subsets: data fewshot."""

from typing import Annotated

import typer

from harness.cli import data_commands
from harness.cli.run_commands import Json


def register(app: typer.Typer) -> None:
    data_commands.data.command()(fewshot)


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
    root: Annotated[
        str, typer.Option(help="The folder of data sets; RINGBENCH_DATA if none.")
    ] = "",
    json: Json = False,
) -> None:
    """Write few-shot subsets beside their split, check those that are there, compare them.

    ringbench data fewshot dtd --rules coop,clip_lora shows how many images two rules share.
    """
    from harness.cli import console
    from harness.data import subset_comparison

    counts = subset_comparison.numbers("--shots", shots, 1)
    found = subset_comparison.make(
        data,
        subset_comparison.rules(rules),
        counts,
        subset_comparison.numbers("--seeds", seeds, 0),
        val_shots,
        root,
    )
    pairs = subset_comparison.compare(found)
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
