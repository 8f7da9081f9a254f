"""``ringbench params``: counts without weights, data or training."""

from collections.abc import Sequence
from typing import Any

from harness.evaluate import parameters
from harness.model import backbone
from harness.run import config
from methods.kit.core.errors import UsageError


def count(method: str, words: Sequence[str], name: str, classes: int) -> dict[str, Any]:
    """The four counts of a method on a backbone. Raises UsageError."""
    given = config.parse(words)
    odd = [key for key in given if not key.startswith("method.") or key == "method.name"]
    if odd:
        raise UsageError(f"{odd[0]}: params takes settings of the method only, as method.rank=4")
    spec = config.resolve("few_shot", {"method.name": method, **given})
    counts = parameters.outline(spec.method, backbone.backbone_outline(name), classes)
    return counts.as_dict()
