"""A replayed step is the step, whatever changes between two; what cannot be replayed is not."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import methods
from harness.run import config
from harness.run.conclude import AFFINITY
from harness.run.execute import execute, prepare_run
from harness.train import optimizer, replay
from harness.train.cache_plan import make_plan
from harness.train.fit import EpochRow, fit_all
from harness.train.replay import GRAPH_TAG, MAX_SHAPES, REPLAYED, WARM_UP_STEPS
from harness.train.trial_group import Trial, TrialGroup
from tests.conftest import options
from tests.harness.train.tape import Tapes

CPU = torch.device("cpu")
TINY = Path(__file__).parents[2] / "tiny" / "flat.json"
FEW = ["data=digits", "train.batch_size=4", f"backbone={TINY}", "pretrained=random"]
WITH_INACTIVE = {"coto"}  # parts of it do not move in some steps


@pytest.fixture
def tapes(monkeypatch: pytest.MonkeyPatch) -> Tapes:
    """Steps are recorded here, with rates on the device."""
    made = Tapes()
    monkeypatch.setattr(optimizer, "lr_on_device", lambda rows: True)
    monkeypatch.setattr(replay, "step_recorder", lambda device: made)
    return made


Found = tuple[list[list[float]], list[dict[str, Tensor]], dict[str, str]]


def trained(*lists: list[str], epochs: int = 4, device: torch.device = CPU) -> Found:
    """Losses and weights of trials side by side, and how their steps were computed."""
    shots = [] if any("shots" in w for w in lists[0]) else ["shots=2"]  # batches of 4 and of 2
    few = [*FEW, *shots, f"train.epochs={epochs}"]
    specs = [config.build("base_to_novel", [*few, *words]) for words in lists]
    runs = [prepare_run(s, str(device)) for s in specs]
    trials = [
        Trial(run.net.adapter, s.train, s.seed, (run.split.trains[0],), s.method)
        for run, s in zip(runs, specs, strict=True)
    ]
    group, first = TrialGroup(trials), runs[0]
    net = type(first.net)(first.backbone, first.net.adapter, first.net.prompts, wiring=group.wiring)
    streams = len({trial.stream_key for trial in trials})
    train = specs[0].train
    plan = make_plan(net, first.split.trains[0], train, 1, specs[0].data.views, streams)
    losses: list[list[float]] = [[] for _ in trials]
    tags: dict[str, str] = {}
    for rows in fit_all([net], [plan], group):
        for mine, trial in zip(losses, trials, strict=True):
            row = rows[trial]
            assert isinstance(row, EpochRow)
            mine.extend(row.losses)
            tags |= row.tags
    return losses, [trial.adapter.state() for trial in trials], tags


def same(found: Any, expected: Any) -> None:
    assert found[0] == [pytest.approx(losses, rel=1e-5) for losses in expected[0]]
    for mine, theirs in zip(found[1], expected[1], strict=True):
        for name, value in theirs.items():
            assert torch.allclose(mine[name].float(), value.float(), rtol=1e-4, atol=1e-6), name


TRAINED = [name for name in methods.names() if name != "zero_shot"]


@pytest.mark.parametrize("name", TRAINED)
def test_a_replayed_training_is_the_training(name: str, tapes: Tapes) -> None:
    words = [f"method={name}", "train.clip_grad=1"]
    words += ["method.host=lora"] if name == "coto" else []
    found = trained(words)
    assert (found[2][GRAPH_TAG] == REPLAYED) == (name not in WITH_INACTIVE), found[2]
    steps = len(found[0][0])
    if name not in WITH_INACTIVE:  # the stages of a method are replayed, too
        assert sum(tape.replays for tape in tapes.tapes) >= steps - 2 * WARM_UP_STEPS
    tapes.capture = None  # type: ignore[assignment]
    expected = trained(words)
    assert expected[2][GRAPH_TAG] != REPLAYED
    same(found, expected)


@pytest.mark.parametrize("word", ["data.views=2", "data.views=0", "train.optimizer=sgd"])
def test_whatever_the_data_path_and_the_optimiser(word: str, tapes: Tapes) -> None:
    words = ["method=adaring", "train.augment=crop_flip", word]
    found = trained(words, epochs=12)
    assert found[2][GRAPH_TAG] == REPLAYED
    tapes.capture = None  # type: ignore[assignment]
    same(found, trained(words, epochs=12))


def test_trials_side_by_side_are_replayed_together(tapes: Tapes) -> None:
    group = ["method=lora"], ["method=lora", "seed=2", "train.lr=1e-4"], ["method=adaring"]
    found = trained(*group)
    assert found[2][GRAPH_TAG] == REPLAYED
    tapes.capture = None  # type: ignore[assignment]
    same(found, trained(*group))


SETS = ["data=digits+fashion-mnist", "train.batch_size=4", f"backbone={TINY}", "pretrained=random"]


@pytest.mark.parametrize("name", ["vtagml", "lora"])
def test_data_sets_that_take_turns_are_replayed_each(name: str, tapes: Tapes) -> None:
    words = [f"method={name}", *SETS, "shots=1", "train.epochs=5"]
    spec = config.build("multi_task", words)
    found = execute(spec, "cpu")
    assert found.tags[GRAPH_TAG] == REPLAYED
    assert len(tapes.tapes) == 4  # of each set, batches of 4 and of 2 images
    tapes.capture = None  # type: ignore[assignment]
    expected = execute(spec, "cpu")
    assert found.losses == pytest.approx(expected.losses, rel=1e-5)
    cosines, as_ever = (r.tables[AFFINITY] for r in (found, expected))
    assert cosines["digits"]["fashion-mnist"] != 0
    for row, values in as_ever.items():
        assert cosines[row] == pytest.approx(values, abs=1e-4)
    for key, value in expected.state.items():
        assert torch.allclose(found.state[key], value, rtol=1e-4, atol=1e-6), key


def test_compiled_steps_that_keep_no_gradients_are_not_taken_where_they_are_read() -> None:
    words = ["method=lora", *SETS, "shots=1", "train.epochs=1"]
    with options(steps="compiled"):
        found = execute(config.build("multi_task", words), "cpu", test=False)
    assert found.tags[GRAPH_TAG].startswith("no: compiled steps keep no gradients")


def test_a_replay_that_is_wrong_is_not_believed(
    tapes: Tapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tapes.capture

    def wrong(run: Any) -> Any:
        outcome, _ = record(run)
        return outcome, lambda: None

    monkeypatch.setattr(tapes, "capture", wrong)
    found = trained(["method=lora"])
    assert found[2][GRAPH_TAG] == "no: a replayed step differed from the step"
    monkeypatch.setattr(tapes, "capture", None)
    same(found, trained(["method=lora"]))


def test_a_replay_that_fails_leaves_the_step_as_it_was(
    tapes: Tapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tapes.capture

    def broken(run: Any) -> Any:
        outcome, _ = record(run)
        return outcome, lambda: 1 / 0

    monkeypatch.setattr(tapes, "capture", broken)
    found = trained(["method=lora"])
    assert found[2][GRAPH_TAG] == "no: division by zero"
    monkeypatch.setattr(tapes, "capture", None)
    same(found, trained(["method=lora"]))


def test_who_asks_for_the_progress_is_computed_as_ever(
    tapes: Tapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods.lora import LoRA

    attach = LoRA.attach

    def with_penalty(self: Any, clip: Any, task: Any) -> Any:
        adapter = attach(self, clip, task)
        adapter.penalise(lambda step: step.progress * step.logits.mean())
        return adapter

    monkeypatch.setattr(LoRA, "attach", with_penalty)
    assert trained(["method=lora"])[2][GRAPH_TAG].startswith("no: unsupported operand")


def test_steps_before_a_graph_go_over_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    class Stream:
        name = "side"

        def wait_stream(self, other: "Stream") -> None:
            log.append(f"{self.name} waits for {other.name}")

    main = Stream()
    main.name = "main"

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        log.append(f"on {stream.name}")
        yield
        log.append("back")

    def graph(recorded: Any, pool: str, stream: Stream) -> Any:
        return on(stream)

    gpu = SimpleNamespace(
        graph_pool_handle=lambda: "pool", Stream=Stream, stream=on, graph=graph,
        current_stream=lambda: main, CUDAGraph=lambda: SimpleNamespace(replay=lambda: None),
    )  # fmt: skip
    monkeypatch.setattr(torch, "cuda", gpu)
    outcome = torch.ones(1), torch.ones(1)

    def run() -> Any:
        log.append("step")
        return outcome

    graphs = replay.CudaGraphRecorder()
    assert graphs.warm_up(run) is outcome
    assert log == ["side waits for main", "on side", "step", "back", "main waits for side"]
    log.clear()
    assert graphs.capture(run)[0] is outcome
    assert log == ["on side", "step", "back"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU")
@pytest.mark.parametrize("name", TRAINED)
def test_cuda_graphs_are_the_steps(name: str) -> None:
    words = [f"method={name}"] + (["method.host=lora"] if name == "coto" else [])
    gpu = torch.device("cuda")
    found = trained(words, epochs=8, device=gpu)
    assert (found[2][GRAPH_TAG] == REPLAYED) == (name not in WITH_INACTIVE), found[2]
    with options(steps="eager"):
        expected = trained(words, epochs=8, device=gpu)
    assert GRAPH_TAG not in expected[2]
    assert found[0] == [pytest.approx(losses, rel=1e-2) for losses in expected[0]]


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a compiler")
def test_compiled_steps_are_the_steps() -> None:
    words = ["method=clip_adapter", "shots=4"]  # batches of one size
    expected = trained(words)
    assert GRAPH_TAG not in expected[2]
    with options(steps="compiled"):
        found = trained(words)
    assert found[2][GRAPH_TAG] == REPLAYED
    same(found, expected)


def test_few_shapes_are_recorded(tapes: Tapes) -> None:
    words = ["data.views=7", "train.augment=crop_flip", "method=adaring"]
    found = trained(words, epochs=28)
    assert len(tapes.tapes) <= MAX_SHAPES
    assert found[2][GRAPH_TAG] == REPLAYED
