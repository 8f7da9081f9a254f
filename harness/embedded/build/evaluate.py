"""What a pretrained backbone knows: zero-shot accuracy on every task of the embedded suite."""

from pathlib import Path

from harness import config, datasets, run


def zero_shot(folder: Path) -> dict[str, float]:
    """Accuracy in per cent on the whole test split of each task, by the project's own run."""
    backbone = str(folder / "tiny_clip.json")
    weights = str(folder / "model.safetensors")
    words = ["method=zero_shot", f"backbone={backbone}", f"pretrained={weights}"]
    found = {}
    for name in datasets.names():
        spec = config.build("few_shot", [*words, f"data={name}"])
        found[name] = round(run.execute(spec, "cpu").metrics["acc/test"], 2)
    return found
