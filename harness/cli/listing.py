"""``ringbench ls``: what is available or recorded, as columns and rows."""

import importlib
from typing import Any

from methods.kit.core.errors import unknown

Listing = tuple[list[str], list[list[Any]]]

SOURCES = {  # modules as strings: nothing here imports upwards
    "methods": __name__,
    "datasets": __name__,
    "backbones": __name__,
    "protocols": __name__,
    "presets": __name__,
    "spaces": "sweeps.cli.listing",
    "sweeps": "sweeps.cli.listing",
}
TITLES = {"digest": "run id"}  # of columns that have another key in JSON


def read_listing(what: str, uri: str | None = None) -> Listing:
    """Return the columns and rows of a listing. Raises UsageError for an unknown one."""
    if what == "runs":
        return runs(uri)
    if what not in SOURCES:
        raise unknown(f"ls {what!r}", what, [*SOURCES, "runs"])
    listing: Listing = getattr(importlib.import_module(SOURCES[what]), what)()
    return listing


def methods() -> Listing:
    from harness.run import catalogue

    return list(catalogue.METHOD_COLUMNS), catalogue.method_rows()


def datasets() -> Listing:
    from harness.data import registry

    columns = ["classes", "train", "test", "shots", "val_shots", "template", "note"]
    rows = []
    for name in registry.known_names():
        known = registry.describe_set(name)
        rows.append([name, *(known[column] for column in columns)])
    return ["data set", *columns[:4], "val shots", "template", "what"], rows


def backbones() -> Listing:
    from harness.run import catalogue

    return list(catalogue.BACKBONE_COLUMNS), catalogue.backbone_rows()


def protocols() -> Listing:
    from harness.spec.protocols import DEFINITIONS

    return ["protocol", "what"], [[name, known.about] for name, known in DEFINITIONS.items()]


def presets() -> Listing:
    from harness.run import config

    return ["preset", "what"], [[name, config.describe(name)] for name in config.presets()]


def runs(uri: str | None) -> Listing:
    from harness.tracking.ledger import open_ledger

    rows = []
    for run in open_ledger(uri).runs():
        tags = [run.tags.get(tag, "") for tag in ("protocol", "method", "dataset", "seed")]
        accuracies = [
            f"{key.removeprefix('acc/')} {round(value, 2)}"
            for key, value in run.metrics.items()
            if key.startswith("acc/")
        ]
        result = ", ".join(accuracies) or run.tags.get("error", "")
        rows.append([run.digest, run.status, *tags, result])
    return ["digest", "status", "protocol", "method", "data set", "seed", "result"], rows
