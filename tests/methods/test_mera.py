"""MerA: transport between hidden units, the ways to merge, and sources as stages."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.model.backbone import Backbone
from harness.run import config, source_runs, stages
from harness.run.execute import check_spec, execute
from harness.spec.spec import Spec
from harness.tracking import source_lookup
from harness.tracking.ledger import open_ledger
from harness.train.fit import EpochRow
from methods.kit import Adapter, UsageError
from methods.kit.parts import adapter_merging
from methods.kit.parts.adapter_merging import Weights
from methods.mera import MerA
from tests.conftest import task_of
from tests.methods.test_parameter_counts import trainable

WIDTH, HIDDEN = 12, 6


def drawn(seed: int) -> Weights:
    rng = torch.Generator().manual_seed(seed)
    shapes = ((WIDTH, HIDDEN), (HIDDEN,), (HIDDEN, WIDTH), (WIDTH,))
    return Weights(*(torch.randn(shape, generator=rng) for shape in shapes))


def shuffled(w: Weights, seed: int) -> Weights:
    """The same function, its hidden units in another order."""
    order = torch.randperm(HIDDEN, generator=torch.Generator().manual_seed(seed))
    return Weights(w.down[:, order], w.down_bias[order], w.up[order], w.up_bias)


def probe(w: Weights) -> Tensor:
    x = torch.randn(40, WIDTH, generator=torch.Generator().manual_seed(0))
    return F.gelu(x @ w.down + w.down_bias)


def close(one: Weights, two: Weights) -> bool:
    return all(torch.allclose(a, b, atol=1e-6) for a, b in zip(one, two, strict=True))


@given(st.integers(0, 10_000), st.sampled_from(["ot_weights", "ot_activations"]))
@settings(deadline=None, max_examples=30)
def test_transport_undoes_a_permutation_which_a_mean_does_not(seed: int, how: str) -> None:
    w = drawn(seed)
    other = shuffled(w, seed + 1)
    assert close(adapter_merging.merge([w, other], how, probe), w)  # type: ignore[arg-type]
    moved = not torch.equal(w.down, other.down)
    assert close(adapter_merging.merge([w, other], "mean"), w) == (not moved)


@pytest.mark.parametrize("how", ["mean", "ot_weights", "ot_activations"])
def test_merging_copies_changes_nothing(how: adapter_merging.Merge) -> None:
    w = drawn(1)
    assert close(adapter_merging.merge([w, w, w], how, probe), w)


def test_a_sum_is_a_sum_of_parameters() -> None:
    one, two = drawn(1), drawn(2)
    total = adapter_merging.merge([one, two], "sum")
    assert torch.equal(total.up, one.up + two.up)
    assert torch.equal(total.down, one.down + two.down)


def test_a_plan_is_the_cheapest_permutation() -> None:
    rng = torch.Generator().manual_seed(3)
    units, reference = torch.randn(5, 7, generator=rng), torch.randn(5, 7, generator=rng)
    t = adapter_merging.plan(units, reference)
    assert torch.equal(t.sum(0), torch.ones(5))
    assert torch.equal(t.sum(1), torch.ones(5))
    assert set(t.flatten().tolist()) == {0.0, 1.0}
    cost = torch.cdist(units, reference)
    best = min(sum(float(cost[u, v]) for u, v in enumerate(p)) for p in permutations(range(5)))
    assert float((cost * t).sum()) == pytest.approx(best, rel=1e-5)


def test_a_permuted_adapter_is_the_same_function() -> None:
    w, x = drawn(4), torch.randn(9, WIDTH)
    v = adapter_merging.permuted(
        w, adapter_merging.plan(torch.randn(HIDDEN, 3), torch.randn(HIDDEN, 3))
    )
    one, two = (F.gelu(x @ k.down + k.down_bias) @ k.up + k.up_bias for k in (w, v))
    torch.testing.assert_close(one, two)


# --- the method ------------------------------------------------------------------------------


def attached(method: MerA, backbone: Backbone, **earlier: dict[str, Tensor]) -> Adapter:
    torch.manual_seed(0)
    return method.attach(backbone.clip, replace(task_of(backbone), earlier=earlier))


@pytest.mark.parametrize("how", ["sum", "mean", "ot_weights", "ot_activations"])
def test_it_begins_where_its_merged_sources_are(
    how: adapter_merging.Merge, tiny: dict[str, Backbone]
) -> None:
    backbone, method = tiny["flat"], MerA(sources=("a", "b"), merge=how)
    states = {}
    for i, word in enumerate(method.sources):
        like = attached(method, backbone).values()
        torch.manual_seed(i)
        states[word] = {n: torch.randn(v.shape) for n, v in like.items()}
    adapter = attached(method, backbone, **states)
    for block in backbone.clip.blocks():
        names = [f"{block.key}.{part}" for part in Weights._fields]
        one, two = (Weights(*(states[word][n] for n in names)) for word in ("a", "b"))
        found = Weights(*(adapter.values()[n].detach() for n in names))
        if how.startswith("ot"):
            rest = 2 * found.up - one.up  # rows of the second's, in other places
            order = torch.cdist(rest, two.up).argmin(-1)
            assert sorted(order.tolist()) == list(range(64))
            torch.testing.assert_close(rest, two.up[order], atol=1e-4, rtol=1e-4)
            down = 2 * found.down - one.down
            torch.testing.assert_close(down, two.down[:, order], atol=1e-4, rtol=1e-4)
        else:
            factor = 1.0 if how == "sum" else 0.5
            torch.testing.assert_close(found.up, factor * (one.up + two.up))


def test_a_source_is_a_plain_adapter_that_starts_as_the_frozen_model() -> None:
    whole = config.build("few_shot", ["method=mera", "data=digits", "method.sources=1,flags"])
    found = stages.stage_specs(whole)
    assert found["1"].method == MerA(sources=(), other=1)
    assert found["1"].data == whole.data
    assert found["flags"].method == MerA(sources=())
    assert found["flags"].data.name == "flags"
    assert found["flags"].data.shots == 2  # what flags has
    assert MerA(sources=()).identity
    assert not MerA().identity


def test_other_initial_values_are_other_and_the_same_again(tiny: dict[str, Backbone]) -> None:
    one, two, again = (attached(MerA(sources=(), other=k), tiny["flat"]).state() for k in (1, 2, 1))
    assert not torch.equal(one["image.0.down"], two["image.0.down"])
    assert torch.equal(one["image.0.down"], again["image.0.down"])


def test_sources_are_trained_once_and_shared_by_ways_to_merge(tmp_path: Path) -> None:
    words = ["method=mera", "data=digits", "data.shots=1", "train.epochs=1"]
    words += ["method.bottleneck=4", "method.sources=1,2", "method.towers=image"]
    rows: list[EpochRow] = []
    execute(config.build("few_shot", words), "cpu", rows.append, store=tmp_path)
    assert len(rows) == 3
    other = config.build("few_shot", [*words, "method.merge=ot_activations"])
    execute(other, "cpu", rows.append, store=tmp_path)
    assert len(rows) == 4


def test_a_single_source_is_refused(tiny: dict[str, Backbone]) -> None:
    with pytest.raises(UsageError, match=r"method\.sources: '1' alone leaves nothing to merge"):
        attached(MerA(sources=("1",)), tiny["flat"])


def test_a_source_that_does_not_exist_is_refused() -> None:
    words = ["method=mera", "data=digits", "data.shots=1", "method.sources=1,digts"]
    with pytest.raises(UsageError, match="did you mean 'digits'"):
        check_spec(config.build("few_shot", words))


def test_counts() -> None:
    assert 12 * (2 * 768 * 64 + 64 + 768) == 1_189_632
    assert 12 * (2 * 512 * 64 + 64 + 512) == 793_344
    assert trainable("mera") == 1_982_976


# --- made of runs of the ledger --------------------------------------------------------------

PLAIN = ["method=mera", "method.bottleneck=4", "method.towers=image", "shots=1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[Path]:
    """A ledger with two plain adapters and a run of lora."""
    place = tmp_path_factory.mktemp("home")
    shutil.copy(store, place / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RINGBENCH_HOME", str(place))
        for words in (
            [*PLAIN, "method.sources=[]", "train.epochs=1"],
            [*PLAIN, "method.sources=[]", "train.epochs=1", "method.other=1"],
            ["method=lora", "shots=1", "train.epochs=0"],
        ):
            words.append("data=digits")
            open_ledger().record(execute(config.build("few_shot", words), "cpu"))
        yield place


@pytest.fixture
def ids(home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Digests of the two plain adapters, and of the run of lora."""
    monkeypatch.setenv("RINGBENCH_HOME", str(home))
    names = {"0": "one", "1": "two", "": "lora"}
    return {names[run.params.get("method.other", "")]: run.digest for run in open_ledger().runs()}


def merged_of(*words: str, preset: str = "few_shot", extra: Sequence[str] = ()) -> Spec:
    given = [*PLAIN, "data=digits", f"method.sources={','.join(words)}", *extra]
    return source_lookup.resolve_source_runs(config.build(preset, given))


def test_runs_of_the_ledger_are_merged_and_recorded(ids: dict[str, str]) -> None:
    one, two = ids["one"], ids["two"]
    spec = merged_of(one, two[:9], extra=["method.merge=mean", "train.epochs=0"])
    assert merged_of(*spec.method.sources, extra=["method.merge=mean", "train.epochs=0"]) == spec
    result = execute(spec, "cpu")
    states = [
        source_runs.read_source(source_runs.source_folder(*word.split("-")[:2])).state
        for word in spec.method.runs
    ]
    for name, value in result.state.items():
        torch.testing.assert_close(value, (states[0][name] + states[1][name]) / 2)
    told = json.loads(result.tags["sources"])
    assert [(t["digest"], t["dataset"]) for t in told] == [(one, "digits"), (two, "digits")]
    runs = {run.digest: run for run in open_ledger().runs()}
    spent = sum(runs[d].metrics["time/train_seconds"] for d in (one, two))
    assert result.metrics["time/source_seconds"] == pytest.approx(spent)


def test_runs_and_sources_that_are_trained_before_go_together(ids: dict[str, str]) -> None:
    spec = merged_of(ids["one"], "1")
    assert list(stages.stage_specs(spec)) == ["1"]
    check_spec(spec)


def test_runs_that_do_not_fit_are_refused_in_one_line(ids: dict[str, str]) -> None:
    one, two = ids["one"], ids["two"]
    other = ("backbone=ViT-B-32-quickgelu", "pretrained=random")
    cases = {
        "'deadbeef' is no data set, number or finished run": (("deadbeef", one), ()),
        "is given twice": ((one, one), ()),
        "is named twice": ((one, one[:10]), ()),
        "are its own runs": ((one, ids["lora"]), ()),
        "has method.layers=all": ((one, two), ("method.layers=1",)),
        "validation or test images here": ((one, two), ("seed=2",)),
        "is on backbone 'embedded'": ((one, two), other),
    }
    for message, (words, extra) in cases.items():
        with pytest.raises(UsageError) as error:
            check_spec(merged_of(*words, extra=extra))
        assert message in str(error.value)
        assert str(error.value).startswith("method.sources: ")
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="5 classes that are novel here"):
        check_spec(merged_of(one, two, preset="base_to_novel"))
