"""Trials side by side come out as each does alone: every method, and methods beside each other."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import methods
from harness.data.split import Images
from harness.model.backbone import Backbone
from harness.model.classifier import Classifier
from harness.spec.spec import TrainSpec
from harness.train import cache_plan
from harness.train.fit import EpochRow, NonFiniteLoss, fit, fit_all
from harness.train.trial_group import Trial, TrialGroup
from methods.adaring import AdaRing
from methods.clip_adapter import CLIPAdapter
from methods.coto import CoTo
from methods.full_rank import FullRank
from methods.kit import Method
from methods.lora import LoRA
from tests.conftest import NAMES, TEMPLATE, task_of

CFG = TrainSpec(epochs=3, batch_size=3, lr=1e-3, augment="crop_flip", warmup=0.2)


def net_of(method: Method, backbone: Backbone, seed: int) -> Classifier:
    torch.manual_seed(seed)
    adapter = method.attach(backbone.clip, task_of(backbone))
    return Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))


def alone(
    method: Method, backbone: Backbone, images: Images, cfg: TrainSpec, seed: int, views: int = 0
) -> tuple[list[float], dict[str, Tensor]]:
    net = net_of(method, backbone, seed)
    plan = cache_plan.make_plan(net, images, cfg, seed, views)
    rows = list(fit(net, images, cfg, seed, plan=plan))
    return [x for row in rows for x in row.losses], net.adapter.state()


def beside(
    trials: list[tuple[Method, TrainSpec, int, Images]],
    backbone: Backbone,
    views: int = 0,
    leave: dict[int, int] | None = None,
) -> list[tuple[list[float], dict[str, Tensor]]]:
    """Losses and states of trials trained together; ``leave``: after which epoch some go."""
    nets = [net_of(method, backbone, seed) for method, _, seed, _ in trials]
    made = [
        Trial(net.adapter, cfg, seed, (images,), method)
        for net, (method, cfg, seed, images) in zip(nets, trials, strict=True)
    ]
    group = TrialGroup(made)
    first = made[0]
    net = Classifier(backbone, first.adapter, nets[0].prompts, wiring=group.wiring)
    streams = len({t.stream_key for t in made})
    plan = cache_plan.make_plan(net, trials[0][3], first.cfg, first.seed, views, streams)
    losses: dict[Trial, list[float]] = {trial: [] for trial in made}
    for epoch, rows in enumerate(fit_all([net], [plan], group)):
        for trial, row in rows.items():
            assert isinstance(row, EpochRow)
            losses[trial] += row.losses
        gone = [made[i] for i, last in (leave or {}).items() if last == epoch]
        group.retain([t for t in group.trials if t not in gone])
    return [(losses[t], t.adapter.state()) for t in made]


def same(
    found: tuple[list[float], dict[str, Tensor]], expected: tuple[list[float], dict[str, Tensor]]
) -> None:
    """The same losses, and the same way gone: AdamW makes steps of rounding where a gradient is
    zero, so that numbers are compared as a whole."""
    assert found[0] == pytest.approx(expected[0], rel=2e-3)
    states = found[1], expected[1]
    assert set(states[0]) == set(states[1])
    mine, theirs = (torch.cat([v.float().flatten() for v in s.values()]) for s in states)
    assert float((mine - theirs).norm()) < 2e-3 * float(theirs.norm())


@pytest.mark.parametrize("name", [n for n in methods.names() if n != "zero_shot"])
@pytest.mark.parametrize("own", [False, True], ids=["one-seed", "seeds"])
def test_rates_and_seeds_side_by_side_are_what_they_are_alone(
    name: str, own: bool, tiny: dict[str, Backbone], images: Images
) -> None:
    method, backbone = methods.find(name)(), tiny["flat"]
    rates = [1e-3, 3e-3, 1e-3]
    seeds = [1, 2, 3] if own else [1, 1, 1]
    cfgs = [replace(CFG, lr=lr) for lr in rates]
    cfgs[2] = replace(cfgs[2], weight_decay=0.5, optimizer="sgd", clip_grad=0.1)
    trials = list(zip([method] * 3, cfgs, seeds, [images] * 3, strict=True))
    for found, (_, cfg, seed, _) in zip(beside(trials, backbone), trials, strict=True):
        same(found, alone(method, backbone, images, cfg, seed))


MIXED = [
    LoRA(rank=1),
    LoRA(rank=7, alpha=3.0),
    AdaRing(),
    FullRank(layers="top:1"),
    AdaRing(form="adapter", consistency_image=0.7),
    CLIPAdapter(),
    CoTo(),
]


@pytest.mark.parametrize("own", [False, True], ids=["one-seed", "seeds"])
def test_methods_and_ranks_side_by_side_are_what_they_are_alone(
    own: bool, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    trials = [(m, CFG, 1 + own * i, images) for i, m in enumerate(MIXED)]
    for found, (method, cfg, seed, _) in zip(beside(trials, backbone), trials, strict=True):
        same(found, alone(method, backbone, images, cfg, seed))


def test_what_a_trial_learns_does_not_hang_on_who_leaves(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    trials = [(LoRA(rank=2), CFG, 1, images), (LoRA(rank=2), replace(CFG, lr=5e-3), 2, images)]
    trials += [(AdaRing(), CFG, 1, images), (LoRA(rank=2), CFG, 3, images)]
    found = beside(trials, backbone, leave={0: 0, 2: 1})
    assert [len(losses) for losses, _ in found] == [3, 9, 6, 9]
    for i in (1, 3):
        method, cfg, seed, _ = trials[i]
        same(found[i], alone(method, backbone, images, cfg, seed))
    short, _ = alone(*trials[0][:1], backbone, images, CFG, 1)
    assert found[0][0] == pytest.approx(short[:3], rel=2e-3)


def test_one_that_diverges_leaves_and_the_others_do_not_notice(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone, method = tiny["flat"], LoRA(rank=2)
    nets = [net_of(method, backbone, 1) for _ in range(3)]
    cfgs = [CFG, replace(CFG, lr=1e30), replace(CFG, lr=3e-3)]
    made = [Trial(n.adapter, c, 1, (images,), method) for n, c in zip(nets, cfgs, strict=True)]
    group = TrialGroup(made)
    net = Classifier(backbone, made[0].adapter, nets[0].prompts, wiring=group.wiring)
    plan = cache_plan.make_plan(net, images, CFG, 1)
    seen = list(fit_all([net], [plan], group))
    assert isinstance(seen[0][made[1]], NonFiniteLoss)
    assert [list(rows) for rows in seen[1:]] == [[made[0], made[2]]] * 2
    for i in (0, 2):
        same(
            ([x for rows in seen for x in rows[made[i]].losses], made[i].adapter.state()),  # type: ignore[union-attr]
            alone(method, backbone, images, cfgs[i], 1),
        )


@pytest.mark.parametrize("layers", ["top:1", "top:2"])
@pytest.mark.parametrize("views", [0, 2])
@pytest.mark.parametrize("own", [False, True], ids=["one-seed", "seeds"])
def test_what_is_kept_is_kept_for_each_set_of_images(
    layers: str, views: int, own: bool, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    cfg = CFG if views else replace(CFG, augment="none")
    trials = [(LoRA(rank=r, layers=layers), cfg, 1 + own * r, images) for r in (1, 2)]
    for found, (method, _, seed, _) in zip(beside(trials, backbone, views), trials, strict=True):
        same(found, alone(method, backbone, images, cfg, seed, views))
