"""What a command prints about one run. Nothing here imports torch before it is needed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.cli import console
from harness.run import config
from methods.kit.core.errors import UsageError

if TYPE_CHECKING:
    from harness.spec.spec import Spec
    from harness.tracking.driver import RunOutcome


def count_parameters(method: str, words: Sequence[str], name: str, classes: int) -> dict[str, Any]:
    """Return the parameter counts of a method on a backbone, as JSON. Raises UsageError."""
    given = config.parse(words)
    for key in given:
        if not key.startswith("method.") or key == "method.name":
            raise UsageError(f"{key}: params takes settings of the method only, as method.rank=4")
    spec = config.resolve("few_shot", {"method.name": method, **given})
    from harness.evaluate import parameters
    from harness.model import backbone

    counts = parameters.outline_counts(spec.method, backbone.backbone_outline(name), classes)
    return counts.as_dict()


def show_outcome(done: "RunOutcome", as_json: bool, quiet: bool) -> int:
    """Print the outcome of a run, unless the progress display did; return the exit code."""
    from harness.tracking.driver import summary_line

    if as_json:
        console.as_json(
            {
                "digest": done.spec.digest(),
                "status": done.status,
                "already_recorded": done.recorded,
                "delivered": done.delivered,
                "error": done.error,
                "metrics": done.metrics,
                "cache": done.cache,
                "steps": dict(done.steps),
                "spec": done.spec.as_dict(),
            }
        )
        return 0 if done.ok else 1
    if done.recorded or done.status == "running" or (quiet and not done.ok):
        console.say(summary_line(done))
    if not quiet:
        steps = "; ".join(_step_note(tag, value) for tag, value in done.steps.items())
        for note in filter(None, (done.cache, steps)):
            console.say(note)
    return 0 if done.ok else 1


def _step_note(tag: str, value: str) -> str:
    from harness.train.step import MICRO_BATCH_TAG

    if tag == MICRO_BATCH_TAG:
        return f"out of memory: each batch is split into parts of at most {value} images"
    return f"CUDA graphs: {value}"


def show_plan(spec: "Spec", as_json: bool) -> int:
    """Print the settings and parameter counts of a run without running it."""
    from harness.run.execute import check_spec

    counts = check_spec(spec)
    if as_json:
        facts = {"digest": spec.digest(), "spec": spec.as_dict(), "parameters": counts.as_dict()}
        console.as_json(facts)
        return 0
    rows = [[key, str(value)] for key, value in spec.flat().items()]
    rows += [[f"parameters, {k}", f"{v:,}"] for k, v in vars(counts).items() if isinstance(v, int)]
    console.table(["setting", "value"], rows, title=f"run {spec.digest()} (nothing was run)")
    return 0
