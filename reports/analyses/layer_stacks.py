"""The same matrix of every layer, stacked, to measure redundancy across layers."""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.evaluate import parameters
from harness.model import backbone
from harness.model.clip_layout import ClipLayout
from harness.spec.spec import Spec
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.contract.adapter import Adapter
from methods.kit.contract.method import Task
from methods.kit.core.errors import UsageError

UNRELATED = 6  # deviations of the cosine of two unrelated directions
OF_A_LAYER = re.compile(r"(image|text)\.(\d+)\.(.+)")


@torch.no_grad()
def stack_layers(
    spec: Spec, state: Mapping[str, Tensor], since_start: bool = True
) -> dict[str, Tensor]:
    """Return (layers, rows, columns) by name for each matrix that a method has in every layer.

    A low-rank path counts as its update of the weight (``image.qkv``). Any other matrix
    (``image.down``) counts as its change ``since_start``, or as itself: random initial values,
    drawn per layer, would hide what layers have in common. Raises UsageError if a method has no
    matrices of its own in at least two layers, or its initial values cannot be reproduced here.
    """
    parts = backbone.backbone_outline(spec.backbone.name)
    adapter = parameters.attach_outline(spec.method, parts, classes=2)
    if set(state) != set(adapter.values()):
        raise UsageError(
            f"method {spec.method_name!r} chose its layers while it trained, so there is not one"
            " matrix for each layer; full_rank and lora have"
        )
    if since_start and spec.method.stages():
        raise UsageError(
            f"method {spec.method_name!r} begins where earlier trainings ended; use --as-trained"
        )
    bound = adapter.bind(state)
    matrices = _matrices(adapter, bound)
    if since_start:
        matrices = _changes(matrices, _matrices(*_started(spec, parts)))
    layers = _updates(adapter, bound) | matrices
    found: dict[str, dict[int, Tensor]] = {}
    for (tower, layer, name), matrix in layers.items():
        found.setdefault(f"{tower}.{name}", {})[layer] = matrix
    stacked = {
        name: torch.stack([by_layer[i] for i in sorted(by_layer)])
        for name, by_layer in sorted(found.items())
        if len(by_layer) > 1 and len({m.shape for m in by_layer.values()}) == 1
    }
    if not stacked:
        raise UsageError(
            f"method {spec.method_name!r} has no matrices of its own in each layer;"
            " full_rank and lora have"
        )
    return stacked


Place = tuple[str, int, str]


def _started(spec: Spec, parts: ClipLayout) -> tuple[Adapter, BoundAdapter]:
    """Return the adapter of a spec before the first step, drawn from the random seed again."""
    task = Task(("a", "b"), "{}", torch.zeros(2, parameters.PROMPT_TOKENS, dtype=torch.long))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        adapter = spec.method.attach(parts.clip, task)
    return adapter, adapter.bind()


def _changes(trained: dict[Place, Tensor], start: dict[Place, Tensor]) -> dict[Place, Tensor]:
    """Return what training changed; check that the initial values are those of the run."""
    for place, before in start.items():
        if before.any():
            cosine = F.cosine_similarity(before.flatten(), trained[place].flatten(), dim=0)
            if abs(float(cosine)) < UNRELATED * before.numel() ** -0.5:
                raise UsageError(
                    "the initial values of this run cannot be drawn again here (another kind of"
                    " device drew them); use --as-trained"
                )
    return {place: matrix - start[place] for place, matrix in trained.items()}


def _updates(adapter: Adapter, bound: BoundAdapter) -> dict[Place, Tensor]:
    """Return the weight updates of low-rank paths by tower, layer and site."""
    found: dict[Place, Tensor] = {}
    for tower, layer, name in adapter.wiring.sites:
        if layer is not None:
            site = getattr(adapter.clip, tower).block(layer).site(name)
            pair = bound.pair((tower, layer, name), site.shape[0]) if site.shape else None
            if pair is not None:
                found[tower, layer, name] = pair[1] @ pair[0]
    return found


def _matrices(adapter: Adapter, bound: BoundAdapter) -> dict[Place, Tensor]:
    """Return the owned matrices named by their layer, without those of low-rank paths."""
    attached = (h for key, h in adapter.wiring.sites.items())
    paths = {ref.name for h in attached for add in h.adds for ref in (add.down, add.up)}
    found: dict[Place, Tensor] = {}
    for name in adapter.trained():
        match = OF_A_LAYER.fullmatch(name)
        value = bound.value(name)
        if match and name not in paths and value.dim() == 2:
            found[match[1], int(match[2]), match[3]] = value
    return found
