"""``ringbench ls``: what there is, as columns and rows."""

import importlib
import re
import sys
from collections.abc import Callable
from typing import Any

import methods
from methods.kit.core.errors import unknown

Listing = tuple[list[str], list[list[Any]]]

# Named as strings, as the command line names its modules: nothing here imports upwards.
ELSEWHERE = {"spaces": "sweeps.cli.listing", "sweeps": "sweeps.cli.listing"}


def of(what: str, uri: str | None = None) -> Listing:
    """Columns and rows of a listing. Raises UsageError for an unknown one."""
    if what == "runs":
        return _runs(uri)
    if what in ELSEWHERE:
        found: Listing = getattr(importlib.import_module(ELSEWHERE[what]), what)()
        return found
    listings: dict[str, Callable[[], Listing]] = {
        "methods": _methods,
        "datasets": _datasets,
        "backbones": _backbones,
        "protocols": _protocols,
        "presets": _presets,
    }
    if what not in listings:
        raise unknown(f"ls {what!r}", what, [*listings, *ELSEWHERE, "runs"])
    return listings[what]()


def _methods() -> Listing:
    from harness.evaluate import parameters
    from harness.model import backbone

    parts = backbone.backbone_outline("ViT-B-16-quickgelu")
    rows = []
    for name in methods.names():
        kind = methods.find(name)
        method = kind()
        counts = parameters.outline_counts(method, parts, classes=100)
        towers = "+".join(t for t in ("image", "text") if counts.by_tower[t]) or "-"
        about = _first_line(kind)
        rows.append(
            [
                name,
                counts.trainable,
                towers,
                "yes" if method.identity else "no",
                "yes" if counts.inference == 0 and counts.trainable else "no",
                kind.paper,
                max(re.findall(r"\d{4}", kind.paper), default=""),
                kind.fidelity,
                about,
            ]
        )
    columns = ["method", "trainable (ViT-B/16)", "towers", "identity at start", "folds"]
    return [*columns, "paper", "year", "fidelity", "what it is"], rows


def _first_line(kind: type) -> str:
    text = sys.modules[kind.__module__].__doc__ or ""
    line = " ".join(text.strip().split("\n\n")[0].split()).split(": ")[-1]
    return re.sub(r" \([^()]*\d{4}[^()]*\)", "", line)  # the citation has a column of its own


def _datasets() -> Listing:
    from harness.data import registry

    rows = []
    for name in registry.known_names():
        known = registry.describe_set(name)
        rows.append(
            [
                name,
                known["classes"],
                known["train"],
                known["test"],
                known["shots"],
                known["val_shots"],
                known["template"],
                known["note"],
            ]
        )
    columns = ["data set", "classes", "train", "test", "shots", "val shots", "template", "what"]
    return columns, rows


def _backbones() -> Listing:
    from harness.model import open_clip_configs

    rows = []
    for name in open_clip_configs.backbone_names():
        config = open_clip_configs.model_config(name)
        vision, text = config["vision_cfg"], config["text_cfg"]
        tags = (
            ["(shipped)"]
            if name == open_clip_configs.EMBEDDED
            else open_clip_configs.pretrained_tags(name)
        )
        rows.append(
            [
                name,
                vision["image_size"],
                f"{vision['layers']} x {vision['width']}",
                f"{text['layers']} x {text['width']}",
                ", ".join(tags),
            ]
        )
    return ["backbone", "image", "image tower", "text tower", "pretrained"], rows


def _protocols() -> Listing:
    from harness.spec.protocols import DEFINITIONS

    return ["protocol", "what"], [[name, known.about] for name, known in DEFINITIONS.items()]


def _presets() -> Listing:
    from harness.run import config

    return ["preset", "what"], [[name, config.describe(name)] for name in config.presets()]


def _runs(uri: str | None) -> Listing:
    from harness.tracking.ledger import open_ledger

    rows = []
    for run in open_ledger(uri).runs():
        tags, metrics = run.tags, run.metrics
        accuracy = {k: round(v, 2) for k, v in metrics.items() if k.startswith("acc/")}
        rows.append(
            [
                run.digest,
                run.status,
                tags.get("protocol", ""),
                tags.get("method", ""),
                tags.get("dataset", ""),
                tags.get("seed", ""),
                ", ".join(f"{k.removeprefix('acc/')} {v}" for k, v in accuracy.items())
                or tags.get("error", ""),
            ]
        )
    return ["digest", "status", "protocol", "method", "data set", "seed", "result"], rows
