"""Real tiny things: models of every supported build, images, class names."""

import os
import shutil
import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from harness.data import public_sets
from harness.data.public_sets import PublicSet
from harness.data.split import Images
from harness.model import backbone, run_options
from harness.model.backbone import Backbone
from harness.model.run_options import RunOptions
from harness.spec.spec import BackboneSpec
from harness.tracking.ledger import Ledger
from methods.kit.contract.method import Task
from tests import coop_layouts

TINY = Path(__file__).parent / "tiny"
BUILDS = ("flat", "nested", "custom", "bidirectional", "eos")
NAMES = ("cat", "dog", "magnifying glass", "tree")
TEMPLATE = "a photo of a {}."

torch.set_num_threads(1)

# --- processor time of the conformance suite, by method -----------------------------------------

COST, BEGAN = "processor seconds", pytest.StashKey[float]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[BEGAN] = time.process_time()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    if call.when == "call" and item.path.name == "test_contract.py":
        params = getattr(getattr(item, "callspec", None), "params", {})
        name = params.get("name") or params.get("case", ("",))[0]
        item.user_properties.append((COST, [name, time.process_time() - item.stash[BEGAN]]))
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    costs: dict[str, float] = defaultdict(float)
    for report in (r for reports in terminalreporter.stats.values() for r in reports):
        for key, value in report.user_properties if getattr(report, "when", "") == "call" else ():
            name, _, variant = value[0].partition("-") if key == COST else ("", "", "")
            if name:
                costs[f"variants of {name}" if variant else name] += value[1]
    if costs:
        mine = {name: spent for name, spent in costs.items() if not name.startswith("variants")}
        mean = sum(mine.values()) / max(1, len(mine))
        by_cost = sorted(costs.items(), key=lambda item: -item[1])
        terminalreporter.write_line(f"conformance suite: {mean:.1f} s of processor time a method")
        terminalreporter.write_line(", ".join(f"{name} {spent:.1f}" for name, spent in by_cost))


# --- fixtures ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A safetensors file for each build, with every tensor random: no weight is 0 or 1."""
    folder = tmp_path_factory.mktemp("weights")
    files = {}
    for i, build in enumerate(BUILDS):
        spec = BackboneSpec(str(TINY / f"{build}.json"), "random")
        state = dict(backbone.load_backbone(spec).model.state_dict())
        rng = torch.Generator().manual_seed(i)
        for name, value in state.items():
            noise = torch.randn(value.shape, generator=rng)
            scale = 0.2 if value.dim() <= 1 else 0.5 * float(value.std())
            state[name] = (value + scale * noise).contiguous()
        files[build] = folder / f"{build}.safetensors"
        save_file(state, files[build])
    return files


@pytest.fixture(scope="session")
def tiny(weights: dict[str, Path]) -> dict[str, Backbone]:
    """A backbone of each supported build."""
    return {
        build: backbone.load_backbone(BackboneSpec(str(TINY / f"{build}.json"), str(path)))
        for build, path in weights.items()
    }


@pytest.fixture(scope="session")
def images() -> Images:
    """Eight images of four classes."""
    rng = torch.Generator().manual_seed(5)
    pixels = torch.randint(0, 256, (8, 3, 32, 32), generator=rng, dtype=torch.uint8)
    return Images("test", NAMES, pixels, torch.arange(8) % 4, tuple(range(8)), "random images")


@contextmanager
def options(**given: str) -> Iterator[None]:
    """Other options of this process for a while."""
    before = run_options.current()
    run_options.use(RunOptions(**given))
    try:
        yield
    finally:
        run_options.use(before)


def task_of(backbone: Backbone) -> Task:
    """Telling the four classes apart."""
    return Task(NAMES, TEMPLATE, backbone.prompts(TEMPLATE, NAMES).ids)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every test has its own ledger, and no network is asked for anything."""
    monkeypatch.setenv("RINGBENCH_HOME", str(tmp_path / "runs"))
    monkeypatch.delenv("RINGBENCH_TRACKING_URI", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield tmp_path / "runs"
    os.environ.pop("RINGBENCH_TRACKING_URI", None)


@pytest.fixture(scope="session")
def drawn_root(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, PublicSet]]:
    """All 15 public data sets, drawn small once, with their counts."""
    root = tmp_path_factory.mktemp("data")
    return root, coop_layouts.make(root)


@pytest.fixture
def drawn_sets(drawn_root: tuple[Path, dict[str, PublicSet]]) -> dict[str, PublicSet]:
    return drawn_root[1]


@pytest.fixture
def public(drawn_root: tuple[Path, dict[str, PublicSet]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of the drawn sets, whose small counts stand in for the published ones."""
    root, known = drawn_root
    monkeypatch.setattr(public_sets, "known_sets", lambda: known)
    monkeypatch.setenv(public_sets.ROOT, str(root))
    return root


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store; making one takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    list(Ledger(f"sqlite:///{folder}/mlflow.db", folder).runs())
    return folder / "mlflow.db"


@pytest.fixture
def home(store: Path, own_home: Path) -> Path:
    """The folder of results with an empty ledger, for tests that would wait for a new one."""
    own_home.mkdir()
    shutil.copy(store, own_home / "mlflow.db")
    return own_home
