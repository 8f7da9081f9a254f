"""What a pretrained backbone knows: numbers by the project's own run."""

from pathlib import Path
from typing import Any

from harness.data import registry
from harness.model import backbone
from harness.run import config, execute
from harness.spec.spec import BackboneSpec

TRAINED = ("method=lora", "data=fashion-mnist", "data.shots=4", "seed=1")


def zero_shot(folder: Path | None = None) -> dict[str, float]:
    """Accuracy in per cent on the whole test split of each task, among all its classes.

    ``folder`` holds a configuration and weights as `pretrain` writes them; None is the backbone
    that is shipped.
    """
    words = ["method=zero_shot"]
    if folder is not None:
        words += [f"backbone={folder / 'tiny_clip.json'}"]
        words += [f"pretrained={folder / 'model.safetensors'}"]
    found = {}
    for name in registry.embedded_names():
        spec = config.build("few_shot", [*words, f"data={name}"])
        found[name] = round(execute.execute(spec, "cpu").metrics["acc/test"], 2)
    return found


def golden() -> dict[str, Any]:
    """Numbers of the shipped suite that must not change unnoticed: hashes, zero-shot, one run."""
    result = execute.execute(config.build("base_to_novel", TRAINED), "cpu")
    return {
        "backbone": backbone.load_backbone(BackboneSpec()).digest,
        "data": {name: registry.read_dataset(name).digest for name in registry.embedded_names()},
        "zero_shot": zero_shot(),
        "run": list(TRAINED),
        "losses": [round(loss, 4) for loss in result.losses[::10]],
        "accuracy": {k: round(result.metrics[f"acc/{k}"], 2) for k in ("base", "novel")},
    }
