"""What a command prints about one run."""

from collections.abc import Sequence
from typing import Any

import torch

from harness.cli import console
from harness.evaluate import parameters
from harness.model import backbone, tensor_cache
from harness.run import config
from harness.run.execute import check_spec
from harness.spec.spec import Spec
<<<<<<< HEAD
from harness.tracking.driver import RunOutcome, summary_line
=======
from harness.tracking.driver import RunOutcome, sentence
from harness.train import execution_mode
>>>>>>> 0f70f2c (A catalogue of methods and backbones: listings and mistyped settings need no torch)
from harness.train.step import MICRO_BATCH_TAG
from methods.kit.core.errors import UsageError


def count_parameters(method: str, words: Sequence[str], name: str, classes: int) -> dict[str, Any]:
    """The four counts of a method on a backbone. Raises UsageError."""
    given = config.parse(words)
    odd = [key for key in given if not key.startswith("method.") or key == "method.name"]
    if odd:
        raise UsageError(f"{odd[0]}: params takes settings of the method only, as method.rank=4")
    spec = config.resolve("few_shot", {"method.name": method, **given})
    counts = parameters.outline_counts(spec.method, backbone.backbone_outline(name), classes)
    return counts.as_dict()


def use_threads(threads: int) -> None:
    """Limit torch's threads; 0 leaves them."""
    if threads:
        torch.set_num_threads(threads)


def set_up_process(threads: int, cache: str, steps: str) -> None:
    """Apply the options that concern the whole process. Raises UsageError."""
    use_threads(threads)
    tensor_cache.shared_cache.use(cache)
    execution_mode.step_mode.use(steps)


def show(done: RunOutcome, as_json: bool, quiet: bool) -> int:
    """Print how a run ended, unless its progress did; returns the exit code."""
    if as_json:
        console.as_json(
            {
                "digest": done.spec.digest(),
                "status": done.status,
                "already_recorded": done.found,
                "delivered": done.delivered,
                "error": done.error,
                "metrics": done.metrics,
                "cache": done.cache,
                "steps": dict(done.steps),
                "spec": done.spec.as_dict(),
            }
        )
    elif done.found or done.status == "running" or (quiet and not done.ok):
        console.say(summary_line(done))
    if done.cache and not as_json and not quiet:
        console.say(done.cache)
    if done.steps and not as_json and not quiet:
        console.say("; ".join(_said(key, value) for key, value in done.steps.items()))
    return 0 if done.ok else 1


def _said(key: str, value: str) -> str:
    if key == MICRO_BATCH_TAG:
        return f"memory ran out: batches passed in parts of at most {value} images, the same steps"
    return f"recorded steps: {value}"


def plan(spec: Spec, as_json: bool) -> int:
    """Print what a run would be."""
    counts = check_spec(spec)
    if as_json:
        facts = {"digest": spec.digest(), "spec": spec.as_dict(), "parameters": counts.as_dict()}
        console.as_json(facts)
        return 0
    rows = [[key, str(value)] for key, value in spec.flat().items()]
    rows += [[f"parameters, {k}", f"{v:,}"] for k, v in vars(counts).items() if isinstance(v, int)]
    console.table(["setting", "value"], rows, title=f"run {spec.digest()} (nothing was run)")
    return 0
