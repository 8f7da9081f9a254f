"""What cannot change is computed once, and nothing comes out differently for it."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import methods
from harness.data import augment
from harness.data.augment import UNCHANGED, View
from harness.data.split import Images
from harness.evaluate import predict
from harness.model import flops
from harness.model.backbone import Backbone
from harness.model.classifier import Classifier
from harness.model.frozen_features import last_frozen_point
from harness.model.prompt_packing import Prompts
from harness.model.tensor_cache import shared_cache
from harness.model.tower import FROZEN, Sequences, Tower
from harness.spec.spec import TrainSpec
from harness.train import cache_plan
from harness.train.batches import Batch, BatchStream
from harness.train.fit import EpochRow, fit
from methods.adaring import AdaRing
from methods.full_finetune import FullFinetune
from methods.full_rank import FullRank
from methods.kit import Method
from methods.kit.binding.bound_adapter import BoundAdapter
from methods.kit.binding.randomness import Noise, generator
from methods.kit.contract.adapter import Adapter
from methods.linear_probe import LinearProbe
from methods.lora import LoRA
from methods.zero_shot import ZeroShot
from tests.conftest import BUILDS, NAMES, TEMPLATE, options, task_of

LAYERS = ("all", "top:1", "2", "1")  # the tiny towers have 2 or 3 blocks


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    """Every test begins and ends with nothing kept."""
    shared_cache.clear()
    yield
    shared_cache.clear()


def cases() -> dict[str, Method]:
    """Every method as it is, and with each choice of layers where it has one."""
    found: dict[str, Method] = {}
    for name in methods.names():
        kind = methods.find(name)
        found[name] = kind()
        for layers in LAYERS if "layers" in kind.__dataclass_fields__ else ():
            method = kind(layers=layers)  # type: ignore[call-arg]
            if method != found[name]:
                found[f"{name}-{layers}"] = method
    found["lora-text"] = LoRA(layers="2", towers=("text",))
    found["lora-image"] = LoRA(layers="2", towers=("image",))
    found["adaring-teacher"] = AdaRing(layers="2", consistency_logits=1.0, consistency_image=1.0)
    return found


CASES = cases()
every_case = pytest.mark.parametrize("case", CASES)


def net_of(method: Method, backbone: Backbone) -> Classifier:
    torch.manual_seed(0)
    adapter = method.attach(backbone.clip, task_of(backbone))
    return Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))


def perturb(adapter: Adapter) -> Adapter:
    torch.manual_seed(1)
    with torch.no_grad():
        for p in adapter.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    return adapter


def normalised(backbone: Backbone, images: Images) -> Tensor:
    return backbone.transform.normalise(images.pixels)


# --- the points of a tower --------------------------------------------------------------------


@pytest.mark.parametrize("build", BUILDS)
def test_a_tower_taken_up_at_any_point_gives_the_same_bits(
    build: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny[build]
    inputs = ((backbone.image, normalised(backbone, images)),)
    for tower, x in (*inputs, (backbone.text, backbone.prompts(TEMPLATE, NAMES))):
        whole = tower(x)
        for point in range(tower.shape.depth + 1):
            assert torch.equal(tower.finish(tower.begin(x, point), FROZEN, point), whole)


@pytest.mark.parametrize("build", BUILDS)
def test_operations_are_those_that_torch_counts(
    build: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny[build]
    prompts = backbone.prompts(TEMPLATE, NAMES)
    loads: list[tuple[Tower, Tensor | Prompts, flops.TokenBatch]] = [
        (
            backbone.image,
            normalised(backbone, images),
            flops.image_batch(backbone.image, len(images)),
        ),
        (backbone.text, prompts, flops.prompt_batch(prompts, prompts.shared)),
    ]
    for tower, x, load in loads:
        assert counted(lambda t=tower, x=x: t(x)) == flops.forward_operations(tower, load)  # type: ignore[misc]
        for point in range(tower.shape.depth + 1):
            stream = tower.begin(x, point)
            found = counted(lambda t=tower, s=stream, p=point: t.finish(s, FROZEN, p))  # type: ignore[misc]
            assert found == flops.forward_operations(tower, load, point)
        assert flops.forward_operations(tower, load, tower.shape.depth + 1) == 0


def counted(run: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


@every_case
def test_the_frozen_point_is_the_last_that_no_parameter_moves(
    case: str, tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    adapter = perturb(net_of(CASES[case], backbone).adapter)
    prompts = backbone.prompts(TEMPLATE, NAMES)
    inputs = ((backbone.image, normalised(backbone, images)), (backbone.text, prompts))
    for tower, x in inputs:
        point, depth = last_frozen_point(adapter.wiring, tower), tower.shape.depth
        moved: set[int] = set()
        # In a step of training a layer may be switched off at random: some steps together show all.
        for bound in (adapter.bind(), *(adapter.bind(noise=Noise(1, s)) for s in range(8))):
            both = zip(points(tower, x, bound, bound), points(tower, x, FROZEN, bound), strict=True)
            moved |= {i for i, (a, frozen) in enumerate(both) if not torch.equal(a, frozen)}
        assert moved == set(range(point + 1, depth + 2))


def points(
    tower: Tower, x: Tensor | Prompts, bound: BoundAdapter, like: BoundAdapter
) -> list[Tensor]:
    """What a tower holds at each of its points, block after block, laid out for ``like``."""
    stream = tower.embed(x, bound, like)
    found = [stream.x]
    for i in range(tower.shape.depth):
        stream = tower.run(stream, bound, i, i + 1)
        found.append(stream.x)
    return [*found, tower(x, bound)]


def test_what_acts_behind_the_blocks_leaves_their_pooled_tokens(
    tiny: dict[str, Backbone], images: Images
) -> None:
    for build in ("flat", "bidirectional"):
        backbone = tiny[build]
        adapter = Adapter(backbone.clip)
        site = backbone.clip.site("image", "project")
        moved = adapter.own("image.project", torch.nn.Parameter(torch.randn(site.shape)))
        adapter.reweight(site, torch.add, moved)
        tower, depth = backbone.image, backbone.image.shape.depth
        assert last_frozen_point(adapter.wiring, tower) == depth
        stream = tower.begin(normalised(backbone, images), depth)
        assert (stream.length == 1) == (tower.shape.pool != "mean")
        whole = tower(normalised(backbone, images), adapter.bind())
        assert torch.equal(tower.finish(stream, adapter.bind(), depth), whole)


def test_what_acts_before_the_blocks_leaves_nothing(tiny: dict[str, Backbone]) -> None:
    clip = tiny["flat"].clip
    for tower, name in (("text", "words"), ("image", "patches"), ("image", "positions")):
        adapter = Adapter(clip)
        adapter.after(clip.site(tower, name), lambda x, y: y)
        assert last_frozen_point(adapter.wiring, getattr(tiny["flat"], tower)) == -1


# --- training with and without ----------------------------------------------------------------


def train(
    method: Method, backbone: Backbone, images: Images, cache: str, views: int, **settings: Any
) -> tuple[list[EpochRow], dict[str, Tensor], cache_plan.CachePlan]:
    shared_cache.clear()
    cfg = TrainSpec(**{"lr": 1e-2, "epochs": 4, "batch_size": 3, **settings})
    with options(cache=cache):
        net = net_of(method, backbone)
        made = cache_plan.make_plan(net, images, cfg, 1, views)
        rows = list(fit(net, images, cfg, 1, plan=made))
    return rows, net.adapter.state(), made


@every_case
@pytest.mark.parametrize("views", [-1, 0, 2])
def test_a_training_comes_out_the_same_with_and_without_what_is_kept(
    case: str, views: int, tiny: dict[str, Backbone], images: Images
) -> None:
    augment = "none" if views < 0 else "crop_flip"
    backbone, method = tiny["flat"], CASES[case]
    epochs = 3 if views > 0 else 2  # the first view recurs
    found = [
        train(method, backbone, images, cache, max(0, views), augment=augment, epochs=epochs)
        for cache in ("off", "auto")
    ]
    (plain, state, nothing), (rows, mine, made) = found
    assert nothing.bytes == 0
    for theirs, ours in zip(plain, rows, strict=True):
        assert ours.losses == pytest.approx(theirs.losses, rel=1e-4, abs=1e-6)
    for name, value in state.items():
        torch.testing.assert_close(mine[name], value, atol=1e-4, rtol=1e-3)
    if not any(made.cached_views(name) for name in ("image", "teacher")):  # the same shapes
        assert [r.losses for r in rows] == [r.losses for r in plain]
        assert all(torch.equal(mine[name], value) for name, value in state.items())


@pytest.mark.parametrize("build", BUILDS)
def test_on_every_build(build: str, tiny: dict[str, Backbone], images: Images) -> None:
    method = LoRA(layers="top:1", dropout=0.3)
    (plain, _, _), (rows, _, made) = (
        train(method, tiny[build], images, cache, 0, augment="none") for cache in ("off", "auto")
    )
    assert {part.name for part in made.parts} == {"text", "image"}
    for theirs, ours in zip(plain, rows, strict=True):
        assert ours.losses == pytest.approx(theirs.losses, rel=1e-4, abs=1e-6)


def test_under_autocast_too(tiny: dict[str, Backbone], images: Images) -> None:
    backbone = replace(tiny["flat"], precision="bf16")
    for method in (LoRA(layers="top:1"), CASES["adaring-teacher"], LinearProbe()):
        (plain, _, _), (rows, _, _) = (
            train(method, backbone, images, cache, 0, augment="none") for cache in ("off", "auto")
        )
        for theirs, ours in zip(plain, rows, strict=True):
            assert ours.losses == pytest.approx(theirs.losses, rel=1e-2, abs=1e-3)


def test_each_image_passes_each_frozen_block_once_a_view(
    tiny: dict[str, Backbone], images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: Counter[tuple[str, int]] = Counter()
    run = Tower.block

    def counting(self: Tower, i: int, stream: Sequences, *args: Any) -> Tensor:
        passed[self.shape.name, i] += stream.n
        return run(self, i, stream, *args)

    monkeypatch.setattr(Tower, "block", counting)
    backbone = tiny["flat"]
    method = LoRA(layers="top:1")
    depth = {"image": backbone.image.shape.depth, "text": backbone.text.shape.depth}
    train(method, backbone, images, "auto", 2, augment="crop_flip")
    for tower, once in (("image", 2 * 8), ("text", len(NAMES))):
        assert {passed[tower, i] for i in range(depth[tower] - 1)} == {once}
    assert passed["image", depth["image"] - 1] == 4 * 8
    assert passed["text", depth["text"] - 1] == 4 * 3 * len(NAMES)


def test_every_step_does_the_same_work(tiny: dict[str, Backbone], images: Images) -> None:
    work_of: list[int] = []

    def around(step: int, run: Callable[[], Any]) -> Any:
        found: list[Any] = []
        work_of.append(counted(lambda: found.append(run())))
        return found[0]

    cfg = TrainSpec(epochs=2, batch_size=4, augment="none")
    list(fit(net_of(LoRA(layers="top:1"), tiny["flat"]), images, cfg, 1, around))
    assert len(work_of) == 4
    assert len(set(work_of)) == 1


def test_evaluations_share_what_is_kept(
    tiny: dict[str, Backbone], images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    begin = Tower.begin

    def counting(self: Tower, x: Any, *args: Any) -> Sequences:
        encoded.extend([len(x)] * (self.shape.name == "image"))
        return begin(self, x, *args)

    monkeypatch.setattr(Tower, "begin", counting)
    val = replace(images, key="others", pixels=255 - images.pixels)
    net = net_of(LoRA(layers="top:1"), tiny["flat"])
    perturb(net.adapter)
    plain = [predict.predict(net, part) for part in (images, val)]
    assert encoded == []  # once is straight through
    for _ in range(3):
        assert predict.predict(net, val, recurring=True).p_label == pytest.approx(plain[1].p_label)
    assert encoded == [8]
    cfg = TrainSpec(lr=1e-30, epochs=3, batch_size=4, augment="none", weight_decay=0.0)
    list(fit(net, images, cfg, 1))
    assert encoded == [8, 8]
    assert predict.predict(net, images).p_label == pytest.approx(plain[0].p_label, rel=1e-4)
    assert encoded == [8, 8]  # training kept them
    with options(cache="off"):
        assert torch.equal(net.inputs(images, recurring=True), images.pixels)


def test_trials_side_by_side_read_what_is_kept(tiny: dict[str, Backbone], images: Images) -> None:
    from tests.methods.adapter_values import stack

    backbone = tiny["flat"]
    nets = [net_of(LoRA(layers="top:1"), backbone) for _ in range(3)]
    for i, net in enumerate(nets):
        torch.manual_seed(i)
        for p in net.adapter.parameters():
            torch.nn.init.normal_(p, std=0.2)
    stream = backbone.image.begin(normalised(backbone, images), nets[0].image_point)
    x = stream.x.unflatten(0, (len(images), -1))
    with torch.no_grad():
        values = stack([net.adapter for net in nets])
        together = nets[0](x, nets[0].adapter.bind(values, trials=3)).logits
        for i, net in enumerate(nets):
            alone = net(images.pixels, net.adapter.bind()).logits
            torch.testing.assert_close(together[i], alone, atol=2e-4, rtol=1e-4)


# --- views ------------------------------------------------------------------------------------


def batches(
    backbone: Backbone, images: Images, cfg: TrainSpec, views: int, cache: str = "off"
) -> list[list[Batch]]:
    with options(cache=cache):
        net = net_of(FullFinetune(), backbone)
        data = BatchStream(net, images, cfg, 5, cache_plan.make_plan(net, images, cfg, 5, views))
        return [list(data.epoch(e)) for e in range(cfg.epochs)]


def by_row(epoch: list[Batch]) -> Tensor:
    x, rows = torch.cat([b.x for b in epoch]), torch.cat([b.rows for b in epoch])
    return x[rows.argsort()]


def test_epochs_take_the_views_in_turn(tiny: dict[str, Backbone], images: Images) -> None:
    cfg = TrainSpec(epochs=5, batch_size=3, augment="crop_flip")
    seen = [by_row(epoch) for epoch in batches(tiny["flat"], images, cfg, 2)]
    again = [by_row(e) for e in batches(tiny["flat"], images, replace(cfg, batch_size=8), 2)]
    for epoch, x in enumerate(seen):
        assert torch.equal(x, seen[epoch % 2])
        torch.testing.assert_close(x, again[epoch], atol=1e-5, rtol=1e-5)
    assert not torch.equal(seen[0], seen[1])
    orders = batches(tiny["flat"], images, cfg, 2)
    assert not torch.equal(orders[0][0].rows, orders[2][0].rows)  # the order is drawn anew


def test_views_are_crops_of_their_own_images(tiny: dict[str, Backbone], images: Images) -> None:
    whole = View(5, 0, 1.0).warps(8, (32, 32))
    assert whole is not None
    x = normalised(tiny["flat"], images)
    uncropped = augment.warp(x, whole)
    for i in range(8):  # a crop of the whole area and ratio 1 is the image or its mirror
        if whole[i, 1, 1] == 1 and whole[i, 0, 0].abs() == 1:
            mirrored = x[i].flip(-1) if whole[i, 0, 0] < 0 else x[i]
            torch.testing.assert_close(uncropped[i], mirrored, atol=1e-4, rtol=1e-4)
    one, two = (View(seed, 0, 0.1).warps(8, (32, 32)) for seed in (1, 2))
    assert one is not None
    assert two is not None
    assert not torch.equal(one, two)
    assert torch.equal(one, View(1, 0, 0.1).warps(8, (32, 32)))  # type: ignore[arg-type]


def test_without_views_every_batch_is_augmented_from_the_epochs_own_stream(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    cfg = TrainSpec(epochs=2, batch_size=3, augment="crop_flip", crop_scale=0.2)
    for epoch, found in enumerate(batches(backbone, images, cfg, 0)):
        order = torch.randperm(8, generator=generator(5, "order", epoch))
        rng = generator(5, "augment", epoch)
        for part, batch in zip(order.split(3), found, strict=True):
            x = normalised(backbone, images)[part]
            x = augment.warp(x, augment.draw_maps(len(x), x.shape[2:], rng, 0.2))
            assert torch.equal(batch.x, x)
            assert batch.view is None


# --- what is said, and how much there is room for ---------------------------------------------


def made(
    method: Method, backbone: Backbone, images: Images, cache: str = "auto", views: int = 0,
    augment: str = "none",
) -> cache_plan.CachePlan:  # fmt: skip
    cfg = TrainSpec(epochs=9, batch_size=4, augment=augment)  # type: ignore[arg-type]
    with options(cache=cache):
        return cache_plan.make_plan(net_of(method, backbone), images, cfg, 1, views)


def test_the_sentence_says_what_is_kept_and_what_it_saves(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    probe = made(LinearProbe(), backbone, images)
    assert probe.sentence().startswith("cached: text features (")
    assert "image features of 8 images (" in probe.sentence()
    assert probe.sentence().endswith("saves 100 % of a step's forward work")
    top = made(LoRA(layers="2", towers=("image",)), backbone, images, views=3, augment="crop_flip")
    assert "image tokens before block 2 of 8 images x 3 views (" in top.sentence()
    fresh = made(LoRA(layers="2"), backbone, images, augment="crop_flip").sentence()
    assert "text tokens before block 2" in fresh
    assert fresh.endswith("(images are augmented anew in each epoch; data.views=K would keep them"
                          " too)")  # fmt: skip
    assert made(LoRA(), backbone, images).sentence() == (
        "cached: nothing (the adapter acts from the first block on)"
    )
    assert made(ZeroShot(), backbone, images).sentence() == "cached: nothing (nothing trains)"
    assert made(LoRA(layers="2"), backbone, images, "off").sentence() == (
        "cached: nothing (--cache off)"
    )


def test_what_is_saved_is_what_a_step_does_less(tiny: dict[str, Backbone], images: Images) -> None:
    backbone, depth = tiny["flat"], tiny["flat"].image.shape.depth
    method = LoRA(rank=1, layers=f"{depth}", towers=("image",), dropout=0.0)
    net = net_of(method, backbone)
    bound = net.adapter.bind()
    batch = images.pixels[:4]
    with torch.no_grad():
        net.text(bound)
        net.image(batch, bound)  # its weights are merged once
        stream = backbone.image.begin(normalised(backbone, images)[:4], net.image_point)
        x = stream.x.unflatten(0, (4, -1))
        less = counted(lambda: net.image(batch, bound)) - counted(lambda: net.image(x, bound))
        forward = counted(lambda: net.encode_frozen_text())
        forward += counted(lambda: backbone.image(normalised(backbone, images)[:4]))
        less += counted(lambda: net.encode_frozen_text())
    found = made(method, backbone, images)
    assert found.operations == forward
    assert found.saved == pytest.approx(100 * less / forward)
    assert found.bytes == 4 * len(NAMES) * backbone.clip.dim + 2 * stream.x.nbytes  # 8 images


def test_views_that_do_not_fit_are_computed_in_each_step(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone = tiny["flat"]
    method = AdaRing(form="adapter", layers="2", consistency_logits=1.0)
    whole = made(method, backbone, images, views=3, augment="crop_flip")
    each = next(part.view_bytes for part in whole.parts if part.name == "image")
    room = f"{(whole.bytes - each - 1) / 1000:.3f}KB"
    part = made(method, backbone, images, room, views=3, augment="crop_flip")
    assert len(whole.cached_views("image")) == 3
    assert len(part.cached_views("image")) == 1
    assert part.bytes < float(room[:-2]) * 1000
    assert "x 1 of 3 views" in part.sentence()
    assert f"more did not fit into --cache {room}" in part.sentence()
    found = [
        train(method, backbone, images, cache, 3, augment="crop_flip", epochs=6)
        for cache in ("off", room, "auto")
    ]
    for rows, _, _ in found[1:]:
        for theirs, ours in zip(found[0][0], rows, strict=True):
            assert ours.losses == pytest.approx(theirs.losses, rel=1e-4, abs=1e-6)


def test_a_plan_looks_ahead_only_as_far_as_there_are_epochs() -> None:
    cfg = TrainSpec(epochs=2, augment="crop_flip")
    assert cache_plan.fixed_views(cfg, 7, 5) == (View(7, 0, 0.08), View(7, 1, 0.08))
    assert cache_plan.fixed_views(cfg, 7, 0) == ()
    assert cache_plan.fixed_views(replace(cfg, augment="none"), 7, 0) == (UNCHANGED,)


def test_the_teacher_of_a_kept_view_is_that_of_its_pixels(
    tiny: dict[str, Backbone], images: Images
) -> None:
    from harness.train.teacher import FrozenTeacher

    backbone = tiny["flat"]
    net = net_of(FullRank(layers="2"), backbone)
    look = View(3, 1, 0.3)
    warps = look.warps(8, (32, 32))
    assert warps is not None
    x = augment.warp(normalised(backbone, images), warps)
    with torch.no_grad():
        answer = net(x, net.adapter.bind(noise=Noise(0, 0)))
        batch = Batch(x, images.labels, torch.arange(8), look)
        kept_one = FrozenTeacher(net, [(images, 3)], (look,))(batch, answer)
        again = FrozenTeacher(net, [(images, 3)])(batch, answer)
    torch.testing.assert_close(kept_one.image, again.image, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(kept_one.logits, again.logits, atol=1e-3, rtol=1e-4)
