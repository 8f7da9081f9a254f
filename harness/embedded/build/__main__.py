"""``python -m harness.embedded.build``: remake the corpus, the tasks and the backbone."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console import as_json, say
from methods.kit.core.errors import UsageError, unknown

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Icons = Annotated[Path, typer.Option(help="The unpacked npm package @iconify/json.")]
Out = Annotated[Path, typer.Option(help="Folder to write to.")]


@app.command()
def corpus(
    icons: Icons,
    out: Out,
    only: Annotated[str, typer.Option(help="These icon sets alone, with commas.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="Processes that render.")] = 2,
) -> None:
    """Select, clean and render the pairs that the backbone learns from."""
    from harness.embedded.build.corpus import build_corpus
    from harness.embedded.build.icons import Iconify

    package = Iconify(icons)
    wanted = [word for word in only.split(",") if word]
    for prefix in wanted:
        if not package.has(prefix):
            raise unknown(f"--only {prefix!r}", prefix, package.collections)
    fate = build_corpus(package, out, wanted, workers)
    say(", ".join(f"{n} {what}" for what, n in fate.most_common()))


@app.command()
def tasks(
    icons: Icons,
    out: Out,
    only: Annotated[str, typer.Option(help="These tasks alone, with commas.")] = "",
) -> None:
    """Draw the tasks that the suite tests on."""
    from harness.embedded.build.icons import Iconify
    from harness.embedded.build.tasks import TASKS, build_tasks

    wanted = [word for word in only.split(",") if word]
    for name in wanted:
        if name not in TASKS:
            raise unknown(f"--only {name!r}", name, TASKS)
    for name, about in build_tasks(Iconify(icons), out, wanted).items():
        counts = {key: about[key] for key in ("classes", "train", "test")}
        say(f"{name}: " + ", ".join(f"{n} {what}" for what, n in counts.items()))


@app.command()
def pretrain(
    corpus: Annotated[Path, typer.Option(help="Folder of the corpus.")],
    out: Out,
    config: Annotated[Path, typer.Option(help="open_clip configuration (JSON).")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="Settings of the recipe, such as samples=4000000.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Weights (safetensors) to go on from, not from noise.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="0 leaves the choice to torch.")] = 0,
    slice_minutes: Annotated[float, typer.Option(help="Stop after so long; 0 never.")] = 0.0,
    every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 1000,
    log_every: Annotated[int, typer.Option(min=1, help="Steps between two log rows.")] = 100,
    scores: Annotated[bool, typer.Option(help="Zero-shot accuracy at checkpoints.")] = True,
) -> int:
    """Train a backbone; the same command again goes on where it stopped."""
    import torch

    from harness.embedded.build import pairs
    from harness.embedded.build.pretrain import Trainer, run
    from harness.embedded.build.recipe import Recipe
    from harness.run import config as config_module
    from harness.run.config import parse
    from harness.run.execute import pick_device

    recipe = config_module.check_part("recipe", Recipe, parse(settings or []))
    if threads:
        torch.set_num_threads(threads)
    trainer = Trainer(pairs.load(corpus), config, recipe, str(pick_device(device)), start)
    done = run(trainer, out, scores, slice_minutes, every, log_every)
    state = "done" if done else "stopped; the same command goes on"
    say(f"{trainer.step} of {sum(recipe.steps())} steps, {state}")
    return 0 if done else 3


@app.command()
def evaluate(
    backbone: Annotated[
        Path | None, typer.Argument(help="Folder of a backbone; without it the shipped one.")
    ] = None,
) -> None:
    """Zero-shot accuracy of a backbone on every task, in per cent."""
    from harness.embedded.build.evaluate import zero_shot

    as_json(zero_shot(backbone))


@app.command()
def golden() -> None:
    """The numbers of the shipped suite that tests/embedded/golden.json keeps."""
    from harness.embedded.build.evaluate import golden

    as_json(golden())


@app.command()
def spread() -> None:
    """How well the tasks tell methods apart, from the runs that are recorded."""
    from harness.cli.console import table
    from harness.embedded.build.spread import spreads
    from harness.tracking.ledger import open_ledger

    rows = [
        [s.dataset, s.metric, s.methods, s.between, s.within, "yes" if s.tells else "no"]
        for s in spreads(open_ledger().runs())
    ]
    heads = ["data set", "metric", "methods", "SD of methods", "SD of seeds", "tells"]
    table(heads, rows)


def call(arguments: list[str]) -> int:
    """Run a command; returns the exit code."""
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(call(sys.argv[1:]))
