"""The files of a trained adapter: its weights and its configuration."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from harness.spec.spec import Spec
from methods.kit.core.errors import UsageError

WEIGHTS, CONFIG = "adapter.safetensors", "adapter_config.json"
SCHEMA = 1


def adapter_bytes(state: Mapping[str, Tensor]) -> int:
    """Return the size of an adapter's weights file."""
    return len(save(dict(state))) if state else 0


def write(folder: Path, spec: Spec, state: Mapping[str, Tensor], extra: Mapping[str, Any]) -> None:
    """Write the two files of an adapter into a folder."""
    save_file(dict(state), folder / WEIGHTS)
    config = {"schema_version": SCHEMA, "peft_type": "RINGBENCH", "spec": spec.as_dict(), **extra}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return (config, state) of an adapter's folder. Raises UsageError for other files."""
    try:
        config = json.loads((folder / CONFIG).read_text())
        return config, load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise UsageError(f"{folder}: no {Path(str(error.filename)).name}") from None
    except (json.JSONDecodeError, SafetensorError) as error:
        raise UsageError(f"{folder}: not an adapter ({error})") from None
