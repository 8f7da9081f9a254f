"""The weights that ``method.start`` initializes a run from, layer by layer.

They are adapters behind MLPs or updates of weights: whatever a method that starts from them can
take apart.
"""

import torch
from torch import Tensor

from harness.evaluate import parameters
from harness.model.backbone import Backbone, backbone_outline
from harness.run.source_runs import SourceRun
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.binding.wiring import Attached
from methods.kit.contract.adapter import Adapter
from methods.kit.contract.source_weights import SourceAdapter, SourceWeights
from methods.kit.core.clip import QKV, Clip, Key, Site, weight_name
from methods.kit.core.errors import UsageError
from methods.kit.parts.bottleneck import Bottleneck
from methods.kit.ring.initialise import ERRORS


def outline_weights(source: SourceRun) -> SourceWeights:
    """Return the weights of a source without numbers: enough to see whether a method fits them."""
    layout = backbone_outline(source.spec.backbone.name)
    adapter = parameters.attach_outline(source.spec.method, layout, classes=2)
    return _weights(source, adapter, adapter.bind(), layout.clip)


@torch.no_grad()
def load_weights(source: SourceRun, backbone: Backbone) -> SourceWeights:
    """Return the weights of a source, in double precision on the CPU."""
    layout = backbone_outline(backbone.name)
    adapter = parameters.attach_outline(source.spec.method, layout, classes=2)
    state = {name: value.double() for name, value in source.state.items()}
    return _weights(source, adapter, adapter.bind(state), backbone.clip)


def ring_errors(adapter: Adapter) -> dict[str, float]:
    """Return the errors of rings made from a source, relative to the weights they stand for."""
    rows = adapter.bind().tables().get(ERRORS, {})
    return {f"{ERRORS}/{name}": row["relative"] for name, row in rows.items()}


def _weights(source: SourceRun, adapter: Adapter, bound: BoundAdapter, clip: Clip) -> SourceWeights:
    """Raises UsageError for a method that is not adapters behind MLPs or updates of weights."""
    pairs: dict[tuple[str, int], SourceAdapter] = {}
    updates: dict[Site, Tensor] = {}
    for key, attached in adapter.wiring.sites.items():
        pair = _pair(bound, key, attached)
        if pair is not None:
            pairs[pair[0]] = pair[1]
            continue
        changes = _updates(bound, key, attached, adapter.clip, clip)
        if not changes:
            pairs.clear()
            updates.clear()
            break
        updates |= changes
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
    changed = {add.rows for add in attached.adds} | {call.rows for call in attached.weight}
    block = getattr(outlined, tower).block(layer)
    sites = [block.site(word) for word in (QKV if name == "qkv" else (name,))]
    if not changed <= {site.rows for site in sites}:
        return {}
    return {
        site: change if site.rows is None else change[slice(*site.rows)]
        for site in sites
        if site.rows in changed
    }
