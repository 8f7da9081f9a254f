"""Prompts without padding give the numbers of padded ones."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.model.backbone import Backbone
from harness.model.prompt_packing import Prompts, pack_prompts
from methods.kit.binding.randomness import Noise
from methods.kit.contract.adapter import Adapter
from methods.kit.parts.low_rank import own_factors
from tests.conftest import TEMPLATE
from tests.methods.adapter_values import stack

NAMES = ("cat", "dog", "a very small magnifying glass", "tree")


@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=6), min_size=1, max_size=5))
def test_every_token_is_a_row_and_shared_ones_a_row_once(prompts: list[list[int]]) -> None:
    length = max(map(len, prompts))
    ids = torch.tensor([p + [0] * (length - len(p)) for p in prompts])
    pooled = torch.tensor([len(p) - 1 for p in prompts])
    for share in (False, True):
        packing = pack_prompts(ids, pooled, share)
        p = packing.prefix
        assert all(q[:p] == prompts[0][:p] and len(q) > p for q in prompts)
        kept = ids.flatten()[packing.places].tolist()
        assert kept == prompts[0][:p] + [token for q in prompts for token in q[p:]]
        rows = torch.arange(len(kept), dtype=torch.float)[:, None]
        padded = packing.pad(rows).view(len(prompts), length)
        for i, q in enumerate(prompts):
            assert [kept[int(r)] for r in padded[i, : len(q)]] == q
            assert int(packing.pooled[i]) == int(padded[i, len(q) - 1])
        assert torch.equal(packing.strip(packing.pad(rows)), rows)
    longer = [q for q in prompts if len(q) > p + 1]
    if len(prompts) > 1 and len(longer) == len(prompts):
        assert len({q[p] for q in prompts}) > 1  # the shared prefix is as long as it can be


def adapted(backbone: Backbone, dropout: float = 0.0) -> Adapter:
    adapter = Adapter(backbone.clip)
    for block in backbone.clip.blocks():
        site = block.site("q")
        down, up = own_factors(adapter, f"{block.key}.q", site, 2)
        adapter.add(site, down, up, dropout=dropout)
        shift = adapter.own(f"{block.key}.shift", torch.nn.Parameter(torch.zeros(block.width)))
        adapter.after(block.site("mlp"), _shifted, shift)
    with torch.no_grad():
        for value in adapter.values().values():
            value.normal_(std=0.2)
    return adapter


def _shifted(x: Tensor, y: Tensor, shift: Tensor) -> Tensor:
    return y * (1 + shift)


def padded(prompts: Prompts) -> Prompts:
    return replace(prompts, packed=None, shared=None)


def close(mine: Tensor, reference: Tensor) -> None:
    torch.testing.assert_close(mine, reference, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("build", ["flat", "nested", "custom", "eos"])
def test_features_and_gradients_are_those_of_padded_prompts(
    build: str, tiny: dict[str, Backbone]
) -> None:
    torch.manual_seed(0)
    backbone = tiny[build]
    prompts = backbone.prompts(TEMPLATE, NAMES)
    assert prompts.shared is not None
    assert prompts.packed is not None
    assert prompts.shared.prefix == 5  # start, a, photo, of, a
    assert len(prompts.shared.places) == int((prompts.pooled + 1).sum()) - 5 * 3
    adapter = adapted(backbone)
    results = []
    for one in (prompts, replace(prompts, shared=prompts.packed), padded(prompts)):
        adapter.zero_grad()
        features = backbone.text(one, adapter.bind())
        features.square().sum().backward()
        gradients = {n: p.grad for n, p in adapter.trained().items() if p.grad is not None}
        results.append((features.detach(), gradients))
    for features, gradients in results[:2]:
        close(features, results[2][0])
        assert gradients.keys() == results[2][1].keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, results[2][1][name], atol=1e-4, rtol=1e-3)


def test_trials_side_by_side_are_packed_too(tiny: dict[str, Backbone]) -> None:
    torch.manual_seed(1)
    backbone = tiny["flat"]
    prompts = backbone.prompts(TEMPLATE, NAMES)
    adapters = [adapted(backbone) for _ in range(3)]
    with torch.no_grad():
        together = backbone.text(prompts, adapters[0].bind(stack(adapters), trials=3))
        for i, adapter in enumerate(adapters):
            close(together[i], backbone.text(padded(prompts), adapter.bind()))


def test_a_function_of_whole_sequences_gets_them(tiny: dict[str, Backbone]) -> None:
    backbone = tiny["flat"]
    prompts = backbone.prompts(TEMPLATE, NAMES)
    adapter = Adapter(backbone.clip)
    seen: list[torch.Size] = []

    def watch(x: Tensor, y: Tensor) -> Tensor:
        seen.append(y.shape)
        return y

    adapter.after(backbone.clip.site("text", "words"), watch, sequence=True)
    backbone.text(prompts, adapter.bind())
    assert seen == [(*prompts.ids.shape, backbone.clip.text.width)]


def test_with_dropout_every_prompt_has_its_own_prefix(tiny: dict[str, Backbone]) -> None:
    backbone = tiny["flat"]
    prompts = backbone.prompts(TEMPLATE, NAMES)
    adapter = adapted(backbone, dropout=0.5)
    rows = backbone.text.embed(prompts, adapter.bind(noise=Noise(1, 1))).x
    assert len(rows) == int((prompts.pooled + 1).sum())
    assert len(backbone.text.embed(prompts, adapter.bind()).x) == len(rows) - 5 * 3


def test_a_single_prompt_and_prompts_with_nothing_in_common(tiny: dict[str, Backbone]) -> None:
    backbone = tiny["flat"]
    for template, names in ((TEMPLATE, ["cat"]), ("{} here", ["cat", "dog", "a tree"])):
        prompts = backbone.prompts(template, names)
        with torch.no_grad():
            close(backbone.text(prompts), backbone.text(padded(prompts)))
