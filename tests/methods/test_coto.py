"""CoTo: its schedule, its draws, and that nothing else changes."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.data.split import Images
from harness.model.backbone import Backbone
from harness.model.classifier import Classifier
from harness.run import config
from harness.spec.spec import TrainSpec
from harness.train.fit import fit
from methods.adaring import AdaRing
from methods.coto import CoTo
from methods.full_rank import FullRank
from methods.kit import Adapter, Method, UsageError
from methods.kit.binding.randomness import Noise
from methods.lora import LoRA
from tests.conftest import NAMES, TEMPLATE, task_of
from tests.methods.adapter_values import load_state
from tests.methods.test_parameter_counts import trainable

TRAIN = TrainSpec(lr=1e-2, weight_decay=0.01, epochs=3, batch_size=4, augment="none")


def trained(method: Method, backbone: Backbone, images: Images) -> Adapter:
    torch.manual_seed(0)
    adapter = method.attach(backbone.clip, task_of(backbone))
    net = Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))
    list(fit(net, images, TRAIN, seed=1))
    return adapter


def test_the_schedule_is_that_of_the_paper() -> None:
    coto = CoTo()
    points = [coto.probability(t) for t in (0.0, 0.375, 0.75, 0.9, 1.0)]
    assert points == pytest.approx([0.1, 0.55, 1.0, 1.0, 1.0])


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(0, 10_000))
def test_at_least_one_group_is_always_on(
    start: float, end: float, ramp: float, progress: float, seed: int
) -> None:
    from methods.coto import _draw

    coto = CoTo(first=max(start, 0.05) if start > 0 else 0.0, last=max(end, 0.05), ramp=ramp)
    rng = torch.Generator().manual_seed(seed)
    if 0 < coto.probability(progress) < 0.01:
        return  # right, and slow to draw
    keep = _draw(progress, rng, 5, coto.probability)
    assert set(keep.tolist()) <= {0.0, 1.0}
    assert keep.sum() >= 1


def test_groups_are_on_as_often_as_the_repeated_draw_makes_them(tiny: dict[str, Backbone]) -> None:
    """p / (1 - (1 - p)^G), because a draw with nothing on is repeated."""
    backbone = tiny["flat"]
    adapter = CoTo(first=0.3, last=0.3).attach(backbone.clip, task_of(backbone))
    groups = backbone.clip.image.depth + backbone.clip.text.depth
    draws = [
        adapter.bind(noise=Noise(1, step)).value("shared.coto").mean().item()
        for step in range(2000)
    ]
    expected = 0.3 / (1 - 0.7**groups)
    assert sum(draws) / len(draws) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("host", "settings", "plain"),
    [
        ("lora", ("dropout=0.25",), LoRA(dropout=0.25)),
        ("adaring", (), AdaRing()),
        ("full_rank", ("form=delta",), FullRank(form="delta")),
    ],
)
def test_with_everything_always_on_it_is_the_host_bit_for_bit(
    host: str,
    settings: tuple[str, ...],
    plain: Method,
    tiny: dict[str, Backbone],
    images: Images,
) -> None:
    backbone = tiny["flat"]
    one = trained(plain, backbone, images)
    two = trained(CoTo(host=host, settings=settings, first=1.0, last=1.0), backbone, images)
    assert one.state().keys() == two.state().keys()
    assert all(torch.equal(value, two.state()[name]) for name, value in one.state().items())


def test_a_group_that_is_off_neither_acts_nor_moves(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    method = CoTo(first=0.0, last=0.0)  # one group at a time
    torch.manual_seed(0)
    adapter = method.attach(backbone.clip, task_of(backbone))
    with torch.no_grad():
        for p in adapter.parameters():
            p.add_(0.1)
    noise = Noise(seeds=1, step=0)
    bound = adapter.bind(noise=noise)
    on = bound.value("shared.coto").nonzero().flatten().tolist()
    assert len(on) == 1
    layer = ["image.0.", "image.1.", "image.2.", "text.0.", "text.1."][on[0]]
    assert {n for n in adapter.trained() if not n.startswith(layer)} == {
        name for _, name in bound.inactive
    }

    def only(method: LoRA) -> Adapter:
        """Plain LoRA whose other blocks are zero."""
        other = method.attach(backbone.clip, task_of(backbone))
        state = {n: v if n.startswith(layer) else 0 * v for n, v in adapter.state().items()}
        load_state(other, state)
        return other

    pixels = backbone.transform.normalise(images.pixels)
    alone = only(LoRA()).bind(noise=noise)
    torch.testing.assert_close(backbone.image(pixels, bound), backbone.image(pixels, alone))

    start = adapter.state()
    net = Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))
    one_step = replace(TRAIN, epochs=1, batch_size=8, weight_decay=0.5)
    list(fit(net, images, one_step, seed=1))
    moved = {n for n, v in adapter.state().items() if not torch.equal(v, start[n])}
    assert moved == {n for n in start if n.startswith(layer)}


def test_all_groups_are_on_when_it_is_tested_whatever_training_drew(
    tiny: dict[str, Backbone],
) -> None:
    backbone = tiny["flat"]
    adapter = CoTo(first=0.0, last=0.0).attach(backbone.clip, task_of(backbone))
    adapter.bind(noise=Noise(1, 0))
    assert adapter.bind().value("shared.coto").tolist() == [1.0] * 5


def test_neighbouring_blocks_can_be_one_group(tiny: dict[str, Backbone]) -> None:
    backbone = tiny["flat"]
    adapter = CoTo(group=2).attach(backbone.clip, task_of(backbone))
    assert len(adapter.bind().value("shared.coto")) == 3  # 2 + 1 image blocks, 2 text blocks


def test_it_adds_no_parameters() -> None:
    assert trainable("coto") == trainable("lora") == 184_320
    assert trainable("coto", "method.host=full_rank", "method.host.bottleneck=8") == trainable(
        "full_rank", "method.bottleneck=8"
    )


def test_settings_of_the_host_are_checked_and_found_again() -> None:
    spec = config.build("few_shot", ["method=coto", "method.host.rank=4", "method.host.sites=q,v"])
    assert spec.method == CoTo(settings=("rank=4", 'sites="q,v"'))
    assert spec.method.wrapped == LoRA(rank=4, sites=("q", "v"))
    assert config.build("few_shot", spec.overrides()) == spec
    assert config.from_dict(spec.as_dict()) == spec
    plain = config.build("few_shot", ["method=lora"])
    assert spec.train == plain.train  # the host's, also where they were tuned


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (CoTo(host="clip_adapter"), "clip_adapter has no parts in blocks"),
        (CoTo(host="coto"), "cannot switch itself"),
        (CoTo(host="lroa"), "did you mean 'lora'"),
        (CoTo(settings=("rnk=4",)), r"method\.host\.rnk: unknown, did you mean 'rank'"),
        (CoTo(settings=("rank=x",)), r"method\.host\.rank: expected a whole number, got 'x'"),
    ],
)
def test_what_cannot_be_wrapped_is_said(
    method: CoTo, message: str, tiny: dict[str, Backbone]
) -> None:
    backbone = tiny["flat"]
    with pytest.raises(UsageError, match=message):
        method.attach(backbone.clip, task_of(backbone))
