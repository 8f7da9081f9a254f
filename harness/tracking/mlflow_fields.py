"""What MLflow stores of a result: tags, a name and a note for people, params and metrics."""

import json
from dataclasses import asdict
from functools import cache
from typing import Any

import methods
from harness.run import config
from harness.run.result import ONLY_VAL
from harness.spec.spec import flatten
from harness.tracking.run_record import CHECKPOINT_PREFIX, RECORD_TAG

PARENT = "mlflow.parentRunId"
NAME = "mlflow.runName"
NOTE = "mlflow.note.content"


def tags_of(result: dict[str, Any], record: str) -> dict[str, str]:
    """Return the tags of a run; ``record`` is the name of its pending record."""
    tags = {**result["tags"], "status": result["status"], RECORD_TAG: record}
    tags[NAME] = name_of(result)
    tags[NOTE] = note_of(result)
    if result["error"]:
        tags["error"] = result["error"][:5000]
    if result["parent"]:
        tags[PARENT] = result["parent"]
    return tags


def name_of(result: dict[str, Any]) -> str:
    """Return the name of a run in MLflow: ``lora rank=4 train.lr=0.02 digits 16-shot seed 1``.

    Settings that are the defaults of this method, protocol and backbone are left out.
    """
    spec, tags = result["spec"], result["tags"]
    known = tags["method"] in methods.names()
    changed = _changed(spec["method"], _method_defaults(tags["method"]) if known else {})
    if known and result["metrics"].get("params/trainable") != 0:
        host = str(spec["method"].get("host", ""))
        usual = _training_defaults(tags["protocol"], tags["method"], host, tags["backbone"])
        changed += [f"train.{word}" for word in _changed(spec["train"], usual)]
    where = f"{tags['dataset']} {tags['shots']}-shot seed {tags['seed']}"
    return " ".join([tags["method"], *changed, where])[:250]


def _changed(settings: dict[str, Any], usual: dict[str, Any]) -> list[str]:
    mine = {k: v for k, v in settings.items() if k != "name" and v != usual.get(k)}
    return [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in mine.items()]


@cache
def _method_defaults(method: str) -> dict[str, Any]:
    """Return the default settings of a method, as JSON has them."""
    settings: Any = methods.find(method)()
    return dict(json.loads(json.dumps(asdict(settings))))


@cache
def _training_defaults(protocol: str, method: str, host: str, backbone: str) -> dict[str, Any]:
    """Return the training settings of a preset for a method, as JSON has them."""
    words = [f"method={method}", f"backbone={backbone}"] + [f"method.host={host}"] * bool(host)
    return dict(json.loads(json.dumps(asdict(config.build(protocol, words).train))))


def note_of(result: dict[str, Any]) -> str:
    """Return the description of a run in MLflow: what it is and how it ended."""
    tags = result["tags"]
    shown = ", ".join(
        f"{k.removeprefix('acc/')} {v:.2f}"
        for k, v in result["metrics"].items()
        if k.startswith("acc/")
    )
    outcome = f"{result['status']}: {result['error'] or shown}"[:1000]
    note = "" if tags["selection"] != ONLY_VAL else " Served to choose settings: never tested."
    return (
        f"**{tags['method']}** on {tags['dataset']}, {tags['protocol']}, {tags['shots']}-shot,"
        f" seed {tags['seed']}, backbone {tags['backbone']}.{note}\n\n{outcome}\n\n"
        f"Run id `{tags['digest']}`; `spec.json` holds every setting."
    )


def params_of(result: dict[str, Any]) -> dict[str, str]:
    """Return every field of the spec, flattened, as text."""
    flat = flatten(result["spec"])
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in flat.items()}


def numbers_of(result: dict[str, Any]) -> list[tuple[str, float, int]]:
    """Return (metric, value, step) of scores and costs, of checkpoints (by epoch), of losses."""
    numbers = [(k, float(v), 0) for k, v in result["metrics"].items()]
    numbers += [
        (f"{CHECKPOINT_PREFIX}{name}", value, checkpoint["epoch"])
        for checkpoint in result["looks"]
        for name, value in checkpoint["scores"].items()
    ]
    return numbers + [("loss/train", v, i + 1) for i, v in enumerate(result["losses"])]
