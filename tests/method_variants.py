"""Settings of methods that go through the conformance tests beside every method's defaults."""

import torch

import methods
from methods.adaring import AdaRing
from methods.kit import Clip, Method
from methods.kit.contract.source_weights import SourceAdapter, SourceWeights

PAIR = ((2, 3), (4, 2))

VARIANTS: dict[str, Method] = {
    "adaring-one_ring": AdaRing(form="adapter", reading="one_ring", slice_size=(2, 3)),
    "adaring-factored": AdaRing(form="adapter", reading="factored", slice_size=3),
    "adaring-parallel": AdaRing(form="adapter", reading="parallel", scale=1.0),
    "adaring-bonds": AdaRing(form="adapter", ring_rank=(3,), slice_size=(4, 2)),
    "adaring-whole": AdaRing(form="adapter", ring_rank=8, slice_size=8),
    "adaring-shared": AdaRing(form="adapter", share="both", slice_size=3),
    "adaring-shared_one": AdaRing(form="adapter", share="both", reading="one_ring", slice_size=3),
    "adaring-shared_factored": AdaRing(
        form="adapter", share="both", reading="factored", slice_size=3
    ),
    "adaring-sum": AdaRing(form="adapter", ranks=PAIR),
    "adaring-layer_gate": AdaRing(form="adapter", ranks=PAIR, combine="layer_gate"),
    "adaring-layer_gate_one": AdaRing(
        form="adapter", ranks=PAIR, combine="layer_gate", reading="one_ring"
    ),
    "adaring-task_gate": AdaRing(form="adapter", ranks=PAIR, combine="task_gate"),
    "adaring-input_gate": AdaRing(form="adapter", ranks=PAIR, combine="input_gate"),
    "adaring-input_gate_parallel": AdaRing(
        form="adapter", ranks=PAIR, combine="input_gate", reading="parallel", scale=0.5
    ),
    "adaring-start": AdaRing(form="adapter", start="a run", slice_size=3),
    "adaring-start_one": AdaRing(
        form="adapter", start="a run", reading="one_ring", slice_size=(2, 3)
    ),
    "adaring-start_sum": AdaRing(form="adapter", start="a run", ranks=PAIR),
    "adaring-delta_start": AdaRing(start="a run", form="delta", slice_size=2),
    "adaring-delta": AdaRing(form="delta", slice_size=2, sites=("q", "k", "v", "o", "fc", "proj")),
    "adaring-delta_sites": AdaRing(form="delta", slice_size=(3, 2), grouping="site"),
    "adaring-delta_dropout": AdaRing(form="delta", slice_size=2, dropout=0.25),
    "adaring-delta_factored": AdaRing(form="delta", slice_size=2, reading="factored"),
    "adaring-delta_whole": AdaRing(form="delta", ring_rank=8, slice_size=8),
    "adaring-delta_layer_gate": AdaRing(form="delta", ranks=PAIR, combine="layer_gate"),
    "adaring-delta_task_gate": AdaRing(form="delta", ranks=PAIR, combine="task_gate"),
}
VARIANT_BUILDS = ("flat", "custom")


def start_of(method: Method, clip: Clip) -> SourceWeights | None:
    """What a run might have learnt that has adapters or updates where an AdaRing has them."""
    if not isinstance(method, AdaRing) or not method.start:
        return None
    rng = torch.Generator().manual_seed(0)
    pairs, updates = {}, {}
    for block in clip.blocks(method.towers):
        down, up = (torch.randn(block.width, 32, generator=rng) for _ in range(2))
        pairs[block.tower, block.index] = SourceAdapter(0.1 * down, 0.02 * up.mT, method.activation)
        for name in method.sites:
            site = block.site(name)
            updates[site] = 0.02 * torch.randn(site.shape, generator=rng)
    delta = method.form == "delta"
    return SourceWeights("a run", {} if delta else pairs, updates if delta else {})


def method_of(case: str) -> Method:
    """The method of that name with its defaults, or the variant."""
    return VARIANTS[case] if case in VARIANTS else methods.find(case)()
