"""SFA: the ticket, the rewind, the budget, and what the search costs."""

from dataclasses import replace

import pytest
import torch

from harness.cli import run_output
from harness.data.split import Images
from harness.model.backbone import Backbone
from harness.model.classifier import Classifier
from harness.run import config
from harness.run.execute import execute
from harness.spec.spec import TrainSpec
from harness.train.fit import EpochRow, fit
from methods.full_rank import FullRank
from methods.kit import Adapter, UsageError
from methods.sfa import ALL, SFA
from tests.conftest import NAMES, TEMPLATE, task_of
from tests.methods.test_parameter_counts import trainable

VIT = "ViT-B-16-quickgelu"


def search(backbone: Backbone) -> dict[str, torch.Tensor]:
    """What a search would have left: random moves of every weight."""
    moved = FullRank(form="delta", sites=ALL).attach(backbone.clip, task_of(backbone)).state()
    rng = torch.Generator().manual_seed(4)
    return {name: torch.randn(value.shape, generator=rng) for name, value in moved.items()}


def attached(method: SFA, backbone: Backbone, moved: dict[str, torch.Tensor]) -> Adapter:
    return method.attach(backbone.clip, replace(task_of(backbone), earlier={"search": moved}))


def test_the_entries_that_moved_most_train_and_no_others(
    tiny: dict[str, Backbone], images: Images
) -> None:
    backbone, moved = tiny["flat"], search(tiny["flat"])
    adapter = attached(SFA(share=0.01), backbone, moved)
    k = len(adapter.values()["image.values"])
    mine = {n: v.abs() for n, v in moved.items() if n.startswith("image.")}
    bar = sorted(torch.cat([v.flatten() for v in mine.values()]).tolist())[-k]
    net = Classifier(backbone, adapter, backbone.prompts(TEMPLATE, NAMES))
    cfg = TrainSpec(lr=1e-2, weight_decay=0.1, epochs=2, batch_size=4, augment="none")
    list(fit(net, images, cfg, seed=1))
    bound = adapter.bind()
    changed = 0
    for block in backbone.clip.blocks(("image",)):
        for name in ("qkv", "out_proj", "fc", "proj"):
            site = block.site(name)
            frozen = backbone.clip.weight(site)
            update = bound.tensor(site.key, frozen) - frozen
            parts = {"qkv": ("q", "k", "v"), "out_proj": ("o",)}.get(name, (name,))
            far = torch.cat([mine[f"{block.key}.{part}"] for part in parts])
            assert not update[far < bar].any()
            changed += int((update[far >= bar] != 0).sum())
    assert changed > 0.95 * k


def test_it_starts_again_from_the_frozen_model(tiny: dict[str, Backbone], images: Images) -> None:
    backbone = tiny["flat"]
    adapter = attached(SFA(), backbone, search(backbone))
    pixels = backbone.transform.normalise(images.pixels)
    torch.testing.assert_close(backbone.image(pixels, adapter.bind()), backbone.image(pixels))


def test_the_search_is_a_short_training_of_all_chosen_weights() -> None:
    method = SFA(search_epochs=2, search_lr=3e-5, sites=("fc",), towers=("image",))
    stage = method.stages()["search"]
    assert stage.method == FullRank(form="delta", sites=("fc",), towers=("image",))
    wanted = {"train.epochs": 2, "train.lr": 3e-5, "train.weight_decay": 0.0}
    assert stage.settings == wanted
    assert SFA(share=0.0).stages() == {}


def test_counts() -> None:
    outside = 12 * (2 * 768 * 8 + 8 + 768)
    inside = int(0.001 * 12 * 7_087_872)
    assert (outside, inside) == (156_768, 85_054)
    counts = run_output.count_parameters("sfa", ["method.towers=image"], VIT, 100)
    assert counts["trainable"] == outside + inside == 241_822
    assert counts["stored"] == counts["trainable"] + inside  # places, counted apart
    text = 12 * (2 * 512 * 8 + 8 + 512) + int(0.001 * 12 * 3_152_384)
    assert trainable("sfa") == 241_822 + text == 384_194


@pytest.mark.parametrize("towers", ["image", "image,text"])
@pytest.mark.parametrize("budget", [300_001, 1_234_567])
def test_a_budget_is_met_exactly(budget: int, towers: str) -> None:
    assert trainable("sfa", f"method.budget={budget}", f"method.towers={towers}") == budget


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method.budget=1000"], r"method\.budget: 1000 is less than the 261312"),
        (["method.budget=9000000", "method.sites=[]"], r"method\.sites: .* no sites have 0"),
        (["method.budget=-1"], r"method\.budget"),
    ],
)
def test_a_budget_that_cannot_be_met_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run_output.count_parameters("sfa", words, VIT, 10)


def test_a_run_tells_what_the_search_took() -> None:
    words = ["method=sfa", "data=digits", "data.shots=1", "train.epochs=1"]
    rows: list[EpochRow] = []
    result = execute(
        config.build("few_shot", [*words, "method.search_epochs=2"]), "cpu", rows.append
    )
    assert len(rows) == 2 + 1
    assert result.metrics["time/stages_seconds"] > 0
    assert result.metrics["memory/stages_bytes"] > 0
    assert len(result.state["image.places"].unique()) == len(result.state["image.values"])
