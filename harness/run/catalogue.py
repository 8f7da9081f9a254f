"""What ``ringbench ls methods`` and ``ls backbones`` show, and the settings of each method.

Computing it imports torch, open_clip and every method. ``catalogue.json`` holds the result, so that
listings and the check of setting names start at once. ``python -m harness.run.catalogue`` writes
it. An entry counts only while the method's file, the kit and open_clip are those that it was made
from: a new or edited method is imported and computed.
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import methods
from harness.spec.spec import field_names

if TYPE_CHECKING:
    from methods.kit.contract.method import Method

FILE = Path(__file__).with_suffix(".json")
FOLDER = Path(methods.__file__).parent
METHOD_COLUMNS = (
    "method", "trainable (ViT-B/16)", "towers", "identity at start", "folds", "paper", "year",
    "fidelity", "what it is",
)  # fmt: skip
BACKBONE_COLUMNS = ("backbone", "image", "image tower", "text tower", "pretrained")


def method_rows() -> list[list[Any]]:
    """A row for each method, in the order of ``METHOD_COLUMNS``."""
    return [(_stored_entry(name) or _method(name))["row"] for name in methods.names()]


def method_settings(name: str) -> tuple[str, ...]:
    """The names of a method's settings. Raises UsageError for an unknown method."""
    entry = _stored_entry(name) if name in methods.names() else None
    return tuple(entry["settings"]) if entry else field_names(methods.find(name))


def backbone_rows() -> list[list[Any]]:
    """A row for each backbone that can be run, in the order of ``BACKBONE_COLUMNS``."""
    stored = _stored()
    return stored["backbones"] if stored["open_clip"] == _open_clip() else _backbone_rows()


def build() -> dict[str, Any]:
    """The whole catalogue, computed."""
    return {
        "kit": _kit_hash(),
        "open_clip": _open_clip(),
        "methods": {name: _method(name) for name in methods.names()},
        "backbones": _backbone_rows(),
    }


@cache
def _stored() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text()))


@cache
def _stored_entry(name: str) -> dict[str, Any] | None:
    """The stored entry of a method; None where it is missing or was made from other code."""
    entry: dict[str, Any] | None = _stored()["methods"].get(name)
    current = entry and entry["hash"] == _method_hash(name) and _stored()["kit"] == _kit_hash()
    return entry if current else None


def _method(name: str) -> dict[str, Any]:
    kind = methods.find(name)
    settings, row = field_names(kind), _method_row(name, kind)
    return {"hash": _method_hash(name), "settings": list(settings), "row": row}


def _method_row(name: str, kind: "type[Method]") -> list[Any]:
    from harness.evaluate import parameters

    method = kind()
    counts = parameters.outline_counts(method, _vit_b_16(), classes=100)
    return [
        name,
        counts.trainable,
        "+".join(t for t in ("image", "text") if counts.by_tower[t]) or "-",
        "yes" if method.identity else "no",
        "yes" if counts.inference == 0 and counts.trainable else "no",
        kind.paper,
        max(re.findall(r"\d{4}", kind.paper), default=""),
        kind.fidelity,
        _first_line(kind),
    ]


@cache
def _vit_b_16() -> Any:
    from harness.model import backbone

    return backbone.backbone_outline("ViT-B-16-quickgelu")


def _first_line(kind: type) -> str:
    """The first sentence of a method's docstring, without the citation: it has its own column."""
    text = sys.modules[kind.__module__].__doc__ or ""
    line = " ".join(text.strip().split("\n\n")[0].split()).split(": ")[-1]
    return re.sub(r" \([^()]*\d{4}[^()]*\)", "", line)


def _backbone_rows() -> list[list[Any]]:
    from harness.model import open_clip_configs as configs

    rows = []
    for name in configs.backbone_names():
        config = configs.model_config(name)
        vision, text = config["vision_cfg"], config["text_cfg"]
        tags = ["(shipped)"] if name == configs.EMBEDDED else configs.pretrained_tags(name)
        towers = [f"{tower['layers']} x {tower['width']}" for tower in (vision, text)]
        rows.append([name, vision["image_size"], *towers, ", ".join(tags)])
    return rows


def _open_clip() -> str:
    return version("open_clip_torch")


def _method_hash(name: str) -> str:
    folders = (FOLDER, *map(Path, methods.__path__))
    files = (folder / f"{name}.py" for folder in folders)
    return _hash([next(file for file in files if file.exists())])


@cache
def _kit_hash() -> str:
    return _hash(sorted((FOLDER / "kit").rglob("*.py")))


def _hash(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.parent.name}/{file.name}".encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    FILE.write_text(json.dumps(build(), indent=1, ensure_ascii=False) + "\n")
