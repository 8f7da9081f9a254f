"""The run that another one starts from: its files by content, its checks, and what it learnt.

A spec names it in full, ``DIGEST-WEIGHTS-WAY``: which run, a hash of its weights file, and the way
it was trained (a digest that data set and seed do not change where they are those of the spec). So
the identity of a spec depends on the very numbers it starts from. harness/tracking/source_lookup.py
finds the run in the ledger and keeps its files in the home folder, where they are read from here.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.data import leakage
from harness.evaluate import parameters
from harness.model import backbone
from harness.model.backbone import Backbone, backbone_outline
from harness.run import adapter_files, config
from harness.spec.paths import home_folder
from harness.spec.spec import Spec
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.binding.wiring import Attached
from methods.kit.contract.adapter import Adapter
from methods.kit.contract.source_weights import SourceAdapter, SourceWeights
from methods.kit.core.clip import QKV, Clip, Key, Site, weight_name
from methods.kit.core.errors import UsageError
from methods.kit.parts.bottleneck import Bottleneck
from methods.kit.ring.initialise import ERRORS

SOURCE_ID = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})-([0-9a-f]{16})")
RECORD = "record.json"
KEY = "method.start"
DRAW = ("name", "shots", "val_shots", "subset", "short_classes")  # with the seed: what is seen


@dataclass(frozen=True)
class Source:
    """A finished run to start from. ``seconds``: of its training, and of any behind it."""

    spec: Spec
    state: Mapping[str, Tensor] = field(repr=False)
    tags: Mapping[str, str]
    seconds: float
    run_id: str

    @property
    def digest(self) -> str:
        return self.tags["digest"]


def source_of(spec: Spec) -> Source | None:
    """The source that a spec names, from the home folder. Raises UsageError."""
    return named(spec.method.start, KEY) if spec.method.start else None


def named(word: str, key: str) -> Source:
    """The source of a full id that the setting ``key`` names. Raises UsageError."""
    match = SOURCE_ID.fullmatch(word)
    if match is None:
        raise UsageError(f"{key}: {word!r} is no full id; harness.sources.pinned gives it")
    folder = kept(match[1], match[2])
    if not (folder / RECORD).is_file():
        raise UsageError(f"{key}: run {match[1]} is not kept in {folder.parent}")
    return read(folder)


def kept(digest: str, weights: str) -> Path:
    """Where the files of a source lie."""
    return home_folder() / "starts" / f"{digest}-{weights}"


def weights_hash(path: Path) -> str:
    """16 hex digits of the bytes of a weights file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@lru_cache(maxsize=8)
def read(folder: Path) -> Source:
    """A kept source; its name is its content. Raises UsageError for files that were changed."""
    facts, state = adapter_files.read(folder)
    if weights_hash(folder / adapter_files.WEIGHTS) != folder.name.partition("-")[2]:
        raise UsageError(f"{folder}: its weights were changed; remove the folder")
    record: dict[str, Any] = json.loads((folder / RECORD).read_text())
    spec = config.from_dict(facts["spec"])
    return Source(spec, state, facts["tags"], record["seconds"], record["run_id"])


def way(spec: Spec, source: Spec) -> str:
    """What start a spec shares with its repetitions: the source's configuration where each has a
    source of its own data, shots and seed; else the one source that all have."""
    own = all(getattr(spec.data, key) == getattr(source.data, key) for key in DRAW)
    return source.configuration() if own and spec.seed == source.seed else source.digest()


def check(spec: Spec, source: Source) -> dict[str, str]:
    """Tags of a start. Raises UsageError for a source that does not fit or has seen too much."""
    check_source(spec, source, KEY)
    return {
        "start": source.digest,
        "start_run": source.run_id,
        "start_method": source.spec.method_name,
        "start_dataset": source.spec.data.name,
        "start_shots": str(source.spec.data.shots),
        "start_seed": str(source.spec.seed),
        **leakage.check_leakage(spec, source.spec, dict(source.tags), KEY),
    }


def check_source(spec: Spec, source: Source, key: str) -> None:
    """Raises UsageError for a run on another backbone and for one that was trained in stages."""
    if source.spec.backbone.name != spec.backbone.name:
        raise UsageError(
            f"{key}: run {source.digest} is on backbone {source.spec.backbone.name!r},"
            f" this one on {spec.backbone.name!r}"
        )
    if source.spec.method.stages() or source.spec.method.runs:
        raise UsageError(f"{key}: run {source.digest} was trained in stages; take another")


def check_weights(source: Source, backbone: Backbone, key: str) -> None:
    """Raises UsageError for a run that was trained on other weights of the backbone."""
    if source.tags.get("backbone_hash") != backbone.digest:
        raise UsageError(
            f"{key}: run {source.digest} was trained on other weights of {backbone.name}"
        )


def costs(source: Source, adapter: Adapter, began: float) -> dict[str, float]:
    """What lies behind the first step: seconds of the source's training, seconds since ``began``
    to read it and make rings of it, and the error of the rings, relative to what they stand for."""
    rows = adapter.bind().tables().get(ERRORS, {})
    return {
        "time/source_seconds": source.seconds,
        "time/start_seconds": time.perf_counter() - began,
        **{f"{ERRORS}/{name}": row["relative"] for name, row in rows.items()},
    }


# --- what it learnt --------------------------------------------------------------------------


def outline(source: Source | None) -> SourceWeights | None:
    """What a source learnt, without numbers: enough to see whether a method fits it."""
    if source is None:
        return None
    parts = backbone.backbone_outline(source.spec.backbone.name)
    adapter = parameters.attach_outline(source.spec.method, parts, classes=2)
    return learnt(source, adapter, adapter.bind(), parts.clip)


@torch.no_grad()
def load(source: Source | None, backbone: Backbone) -> SourceWeights | None:
    """What a source learnt, in double precision on the CPU. Raises UsageError for other weights."""
    if source is None:
        return None
    check_weights(source, backbone, KEY)
    parts = backbone_outline(backbone.name)
    adapter = parameters.attach_outline(source.spec.method, parts, classes=2)
    state = {name: value.double() for name, value in source.state.items()}
    return learnt(source, adapter, adapter.bind(state), backbone.clip)


def learnt(source: Source, adapter: Adapter, bound: BoundAdapter, clip: Clip) -> SourceWeights:
    """Adapters behind MLPs, or updates of weights, layer by layer. Raises UsageError for a method
    that does anything else."""
    pairs: dict[tuple[str, int], SourceAdapter] = {}
    updates: dict[Site, Tensor] = {}
    for key, attached in adapter.wiring.sites.items():
        pair = _pair(bound, key, attached)
        if pair is not None:
            pairs[pair[0]] = pair[1]
            continue
        found = _updates(bound, key, attached, adapter.clip, clip)
        if not found:
            pairs.clear()
            updates.clear()
            break
        updates |= found
    if bool(pairs) == bool(updates) or adapter.wiring.score is not None:
        raise UsageError(
            f"method.start: run {source.digest} ({source.spec.method_name}) does not consist of"
            " adapters behind MLPs or of updates of weights; full_rank, lora and adaring do"
        )
    return SourceWeights(source.digest, pairs, updates)


def _pair(
    bound: BoundAdapter, key: Key, attached: Attached
) -> tuple[tuple[str, int], SourceAdapter] | None:
    tower, layer, name = key
    others = (*attached.adds, *attached.weight, *attached.bias, *attached.before)
    if layer is None or name != "mlp" or others or len(attached.after) != 1:
        return None
    call = attached.after[0]
    if not isinstance(call.fn, Bottleneck):
        return None
    matrices = call.fn.pair(*bound.tensors(call.refs))
    if matrices is None:
        return None
    return (tower, layer), SourceAdapter(*matrices, call.fn.activation)


def _updates(
    bound: BoundAdapter, key: Key, attached: Attached, outlined: Clip, clip: Clip
) -> dict[Site, Tensor]:
    tower, layer, name = key
    if layer is None or name not in ("qkv", "out_proj", "fc", "proj"):
        return {}
    if not attached.foldable or attached.bias:
        return {}
    frozen = clip.weights[weight_name(key, "weight")].detach()
    frozen = frozen if frozen.is_meta else frozen.cpu().double()
    change = bound.folded(key, frozen, None)[0] - frozen
    touched = {add.rows for add in attached.adds} | {call.rows for call in attached.weight}
    block = getattr(outlined, tower).block(layer)
    sites = [block.site(word) for word in (QKV if name == "qkv" else (name,))]
    if not touched <= {site.rows for site in sites}:
        return {}
    return {
        site: change if site.rows is None else change[slice(*site.rows)]
        for site in sites
        if site.rows in touched
    }
