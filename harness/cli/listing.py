"""``ringbench ls``: what there is, as columns and rows."""

import importlib
from collections.abc import Callable
from typing import Any

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
    from harness.run import catalogue

    return list(catalogue.METHOD_COLUMNS), catalogue.method_rows()


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
    from harness.run import catalogue

    return list(catalogue.BACKBONE_COLUMNS), catalogue.backbone_rows()


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
