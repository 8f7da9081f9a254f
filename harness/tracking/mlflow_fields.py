"""A result as MLflow is told of it: tags, a name and a note for people, params, numbers."""

import json
from dataclasses import asdict
from functools import cache
from typing import Any

import methods
from harness.run import config
from harness.run.result import ONLY_VAL
from harness.spec.spec import flatten

PARENT = "mlflow.parentRunId"
NAME = "mlflow.runName"
NOTE = "mlflow.note.content"
ENTRY = "spool_entry"
MIDWAY = "midway/"  # before the name of a validation score, in its series over epochs


def tags_of(result: dict[str, Any], entry: str) -> dict[str, str]:
    """The tags of a run, as MLflow gets them; ``entry`` is its name in the spool."""
    tags = {**result["tags"], "status": result["status"], ENTRY: entry}
    tags[NAME] = name_of(result)
    tags[NOTE] = note_of(result)
    if result["error"]:
        tags["error"] = result["error"][:5000]
    if result["parent"]:
        tags[PARENT] = result["parent"]
    return tags


def name_of(result: dict[str, Any]) -> str:
    """What MLflow lists a run as: ``lora rank=4 train.lr=0.02 digits 16-shot seed 1``. Settings as
    they usually are for this method, protocol and backbone are left out."""
    spec, tags = result["spec"], result["tags"]
    known = tags["method"] in methods.names()
    odd = _odd(spec["method"], _usual(tags["method"]) if known else {})
    if known and result["metrics"].get("params/trainable") != 0:
        host = str(spec["method"].get("host", ""))
        usual = _usual_training(tags["protocol"], tags["method"], host, tags["backbone"])
        odd += [f"train.{word}" for word in _odd(spec["train"], usual)]
    where = f"{tags['dataset']} {tags['shots']}-shot seed {tags['seed']}"
    return " ".join([tags["method"], *odd, where])[:250]


def _odd(settings: dict[str, Any], usual: dict[str, Any]) -> list[str]:
    mine = {k: v for k, v in settings.items() if k != "name" and v != usual.get(k)}
    return [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in mine.items()]


@cache
def _usual(method: str) -> dict[str, Any]:
    """The settings of a method as its file gives them, as JSON has them."""
    made: Any = methods.find(method)()
    found: dict[str, Any] = json.loads(json.dumps(asdict(made)))
    return found


@cache
def _usual_training(protocol: str, method: str, host: str, backbone: str) -> dict[str, Any]:
    """How a method is trained where nobody says otherwise, as JSON has it."""
    words = [f"method={method}", f"backbone={backbone}"] + [f"method.host={host}"] * bool(host)
    found: dict[str, Any] = json.loads(json.dumps(asdict(config.build(protocol, words).train)))
    return found


def note_of(result: dict[str, Any]) -> str:
    """What a person reads about a run in MLflow: what it is, how it went, how to see more."""
    tags = result["tags"]
    shown = ", ".join(
        f"{k.removeprefix('acc/')} {v:.2f}"
        for k, v in result["metrics"].items()
        if k.startswith("acc/")
    )
    went = f"{result['status']}: {result['error'] or shown}"[:1000]
    only = "" if tags["selection"] != ONLY_VAL else " Served to choose settings: never tested."
    return (
        f"**{tags['method']}** on {tags['dataset']}, {tags['protocol']}, {tags['shots']}-shot,"
        f" seed {tags['seed']}, backbone {tags['backbone']}.{only}\n\n{went}\n\n"
        f"Digest `{tags['digest']}`; `spec.json` holds every setting."
    )


def params_of(result: dict[str, Any]) -> dict[str, str]:
    """Every field of the spec, flattened, as text."""
    flat = flatten(result["spec"])
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in flat.items()}


def numbers_of(result: dict[str, Any]) -> list[tuple[str, float, int]]:
    """Metric, value and step: what was measured, looks on the way, the loss of each step."""
    found = [(k, float(v), 0) for k, v in result["metrics"].items()]
    found += [
        (f"{MIDWAY}{name}", value, look["epoch"])
        for look in result["looks"]
        for name, value in look["scores"].items()
    ]
    return found + [("loss/train", v, i + 1) for i, v in enumerate(result["losses"])]
