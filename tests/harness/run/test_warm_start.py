"""Initialization from a recorded run: which run, what it may have seen, what is taken of it."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from harness.cli import main
from harness.data import leakage
from harness.data.split import Images, load_split
from harness.model import backbone
from harness.model.backbone import load_backbone
from harness.model.classifier import Classifier
from harness.run import config, execute, source_runs, warm_start
from harness.run.source_runs import SourceRun
from harness.spec.spec import BackboneSpec, Spec
from harness.tracking import source_lookup
from harness.tracking.ledger import Ledger, open_ledger
from methods.full_rank import FullRank
from methods.kit import UsageError
from tests.conftest import NAMES, TEMPLATE, task_of
from tests.methods.adapter_values import load_state

FAST = ["data=digits", "data.shots=1", "train.epochs=1"]
LIKE = ["method.bottleneck=4", *FAST]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three finished runs: full_rank of seeds 1 and 2, and a linear probe."""
    home = tmp_path_factory.mktemp("home") / "runs"
    ledger = Ledger(f"sqlite:///{home}/mlflow.db", home)
    for words in (["method=full_rank", *LIKE], ["method=full_rank", "seed=2", *LIKE],
                  ["method=linear_probe", *FAST]):  # fmt: skip
        ledger.record(execute.execute(config.build("base_to_novel", words)))
    return home


@pytest.fixture
def home(trained: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it for each test; artifacts stay where they are."""
    shutil.copytree(trained, own_home)
    return own_home


def spec_of(*words: str, preset: str = "base_to_novel") -> Spec:
    return config.build(preset, ["method=adaring", "method.form=adapter", *LIKE, *words])


def digest_of(method: str, seed: int = 1) -> str:
    found = (r for r in open_ledger().runs() if r.tags["method"] == method)
    return next(r.digest for r in found if r.tags["seed"] == str(seed))


def source_of(spec: Spec) -> SourceRun:
    (source,) = source_runs.recorded_sources(spec).values()
    return source


def refused(spec: Spec) -> str:
    """The error about a start, in one line."""
    with pytest.raises(UsageError) as error:
        execute.check_spec(source_lookup.resolve_source_runs(spec))
    assert "\n" not in str(error.value)
    return str(error.value)


# --- which run -----------------------------------------------------------------------------------


def test_every_way_to_name_a_run_means_the_same(home: Path) -> None:
    digest = digest_of("full_rank")
    (row,) = (r for r in open_ledger().runs() if r.digest == digest)
    words = (digest, digest[:7], row.id, row.id[:9], "full_rank", row.tags["configuration"][:8])
    found = {
        source_lookup.resolve_source_runs(spec_of(f"method.start={w}")).digest() for w in words
    }
    assert len(found) == 1
    spec = source_lookup.resolve_source_runs(spec_of("method.start=full_rank"))
    assert source_lookup.resolve_source_runs(spec) == spec
    assert spec.method.start.startswith(digest)
    assert config.build("base_to_novel", spec.overrides()) == spec


def test_the_identity_of_a_run_depends_on_the_weights_that_it_starts_from(home: Path) -> None:
    spec = source_lookup.resolve_source_runs(spec_of("method.start=full_rank"))
    digest, weights, _ = spec.method.start.split("-")
    kept = source_runs.source_folder(digest, weights)
    assert source_runs.weights_hash(kept / "adapter.safetensors") == weights
    other = {k: v + 1 for k, v in load_file(kept / "adapter.safetensors").items()}
    source = source_of(spec)
    assert set(source.state) == set(other)
    ledger = open_ledger()
    result = execute.execute(source.spec)
    ledger.record(replace(result, state=other))  # the same command, other numbers: --force
    source_lookup._find.cache_clear()
    again = source_lookup.resolve_source_runs(spec_of("method.start=full_rank"))
    assert again.method.start.startswith(f"{digest}-")
    assert again.digest() != spec.digest()
    assert again.configuration() == spec.configuration()
    shutil.rmtree(home / "starts")
    # by its full id it is found among both
    assert source_lookup.resolve_source_runs(spec) == spec
    assert torch.equal(source_of(spec).state["image.0.down"], source.state["image.0.down"])
    assert torch.equal(
        load_file(kept / "adapter.safetensors")["image.0.down"], source.state["image.0.down"]
    )


def test_seeds_that_start_each_from_their_own_run_are_one_way_to_train(home: Path) -> None:
    one = source_lookup.resolve_source_runs(spec_of("method.start=full_rank"))
    two = source_lookup.resolve_source_runs(spec_of("method.start=full_rank", "seed=2"))
    assert two.method.start.startswith(digest_of("full_rank", 2))
    assert one.digest() != two.digest()
    assert one.configuration() == two.configuration()
    assert one.configuration() != spec_of().configuration()


def test_ids_that_look_like_numbers_are_words() -> None:
    for text in ("12345678", "12e45678", "0b101010", "1_000"):
        assert spec_of(f"method.start={text}").method.start == text
    assert spec_of('method.start=""').method.start == ""


# --- what is refused -----------------------------------------------------------------------------


def test_wrong_starts_are_told_in_one_line(home: Path) -> None:
    digest = digest_of("full_rank")
    assert "no finished run 'zzz'" in refused(spec_of("method.start=zzz"))
    assert "nor a run of that method in this cell" in refused(
        spec_of("method.start=full_rank", "seed=3")
    )
    assert "does not consist of adapters" in refused(spec_of("method.start=linear_probe"))
    words = ["method=adaring", *FAST, f"method.start={digest}"]
    plain = config.build("base_to_novel", words)
    assert "say method.form=adapter" in refused(plain)
    adapters = config.build("base_to_novel", [*words, "method.form=adapter"])
    assert "say method.bottleneck=4" in refused(adapters)
    assert "is on backbone 'embedded'" in refused(
        spec_of(f"method.start={digest}", "backbone=ViT-B-32-quickgelu", "pretrained=random")
    )
    gone = f"{digest}-{'0' * 16}-{'0' * 16}"
    assert "is not in the ledger" in refused(spec_of(f"method.start={gone}"))
    with pytest.raises(UsageError, match=r"resolve_source_runs gives it"):
        execute.execute(spec_of("method.start=full_rank"))
    with pytest.raises(UsageError, match=r"method\.start: unknown"):
        config.build("base_to_novel", ["method=lora", "method.start=full_rank"])


def test_runs_without_weights_or_with_a_start_of_their_own_are_refused(home: Path) -> None:
    ledger = open_ledger()
    words = ["method=full_rank", "seed=4", *LIKE]
    ledger.record(execute.execute(config.build("base_to_novel", words), test=False))
    assert "no finished run" in refused(spec_of("method.start=full_rank", "seed=4"))
    spec = source_lookup.resolve_source_runs(spec_of("method.start=full_rank"))
    ledger.record(execute.execute(spec))
    assert "itself started from run" in refused(spec_of(f"method.start={spec.digest()}"))


def test_changed_files_and_other_weights_of_the_backbone_are_noticed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = source_lookup.resolve_source_runs(spec_of("method.start=full_rank"))
    source = source_of(spec)
    assert source is not None
    other = replace(source, tags={**source.tags, "backbone_hash": "0" * 16})
    with monkeypatch.context() as patched:
        patched.setattr(source_runs, "read_source", lambda folder: other)
        with pytest.raises(UsageError, match="was trained on other weights of embedded"):
            execute.execute(spec)
    weights = source_runs.source_folder(*spec.method.start.split("-")[:2]) / "adapter.safetensors"
    save_file({k: v + 1 for k, v in source.state.items()}, weights)
    source_runs.read_source.cache_clear()
    with pytest.raises(UsageError, match="its weights were changed"):
        execute.check_spec(spec)


# --- what a source may have seen -----------------------------------------------------------------


def drawn(path: Path, first: int, classes: int = 4, each: int = 12) -> None:
    """A data set of plain pictures; ``first`` is the shade of the first one."""
    rows = []
    for c in range(classes):
        for i in range(each):
            shade = (first + c * each + i) % 256
            buffer = io.BytesIO()
            Image.new("RGB", (8, 8), (shade, 255 - shade, 90)).save(buffer, "PNG")
            split = "train" if i < 2 * each // 3 else "test"
            rows.append((buffer.getvalue(), c, f"thing {c}", split))
    columns = zip(*rows, strict=True)
    names = ("image", "label", "classname", "split")
    table = {n: list(v) for n, v in zip(names, columns, strict=True)}
    pq.write_table(pa.table(table), path)


def recorded(spec: Spec) -> dict[str, str]:
    """The tags of a run that was trained as a spec says, as far as the leakage check reads them."""
    found = leakage.data_use(spec)
    hashes = {"data_hash": found.data_hash, "subset_hash": found.subset_hash}
    return {"digest": spec.digest(), **hashes}


def on(path: Path, *words: str, preset: str = "few_shot") -> Spec:
    base = ["method=zero_shot", f"data={path}", "shots=3", "data.val_shots=2"]
    given = {w.partition("=")[0] for w in words}
    kept = [w for w in base if w.partition("=")[0] not in given]
    return config.build(preset, [*kept, *words])


def test_what_is_seen_is_what_a_run_trains_on_and_holds_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    drawn(path, 0)
    spec = on(path, preset="base_to_novel")
    found = leakage.data_use(spec)
    split = load_split(spec, backbone.load_backbone(BackboneSpec()).transform)
    (table,) = found.tables
    assert found.train == {("", table.images[i]) for i in split.train.ids}
    held = [i for part in (*split.val, *split.held_out.parts) for i in part.ids]
    assert found.held == {("", table.images[i]) for i in held}
    assert found.names == set(split.train.classnames)
    assert found.novel == {"thing 2", "thing 3"}
    assert found.subset_hash == split.hashes["subset_hash"]


def test_the_same_subset_and_other_data_may_be_started_from(tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    drawn(one, 0)
    drawn(two, 100)
    spec = on(one)
    nothing = {"start_seen": "nothing", "start_novel_names": "0"}
    assert leakage.check_leakage(spec, on(one), recorded(on(one))) == nothing
    assert leakage.check_leakage(spec, on(two, "seed=5"), recorded(on(two, "seed=5"))) == nothing
    novel = on(one, preset="base_to_novel")
    tags = leakage.check_leakage(novel, on(two), recorded(on(two)))
    assert tags == {"start_seen": "nothing", "start_novel_names": "2"}


def test_a_run_that_trained_on_what_is_held_out_is_refused(tmp_path: Path) -> None:
    path, copy, swapped = (tmp_path / f"{n}.parquet" for n in ("one", "copy", "swapped"))
    drawn(path, 0)
    spec = on(path)
    validation = leakage.data_use(spec).held
    for seed in range(2, 30):
        other = on(path, f"seed={seed}")
        common = len(leakage.data_use(other).train & validation)
        if common:
            break
    with pytest.raises(UsageError, match=f"was trained on {common} images that are validation"):
        leakage.check_leakage(spec, other, recorded(other))
    shutil.copy(path, copy)
    copied = on(copy, f"seed={seed}")
    with pytest.raises(UsageError, match=f"was trained on {common} images"):
        leakage.check_leakage(spec, copied, recorded(copied))
    table = pq.read_table(path).to_pydict()
    table["split"] = ["test" if s == "train" else "train" for s in table["split"]]
    pq.write_table(pa.table(table), swapped)
    here, there = (on(p, "shots=2", "data.val_shots=1") for p in (path, swapped))
    with pytest.raises(UsageError, match="was trained on 8 images"):  # all of them tested here
        leakage.check_leakage(here, there, recorded(there))
    with pytest.raises(UsageError, match="2 classes that are novel here"):
        leakage.check_leakage(on(path, preset="base_to_novel"), spec, recorded(spec))


def test_what_cannot_be_known_is_refused_on_the_same_data_and_recorded_on_other(
    tmp_path: Path,
) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    drawn(one, 0)
    drawn(two, 100)
    spec = on(one)
    old = {**recorded(on(one)), "subset_hash": "drawn by another rule"}
    with pytest.raises(UsageError, match="what it has seen is not known"):
        leakage.check_leakage(spec, on(one), old)
    gone, tags = on(two), recorded(on(two))
    two.unlink()
    unknown = {"start_seen": "unknown", "start_novel_names": "unknown"}
    assert leakage.check_leakage(spec, gone, tags) == unknown


# --- from the command line -----------------------------------------------------------------------


def test_a_started_run_from_the_command_line(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranks = ["method.ring_rank=4", "method.slice_size=12"]
    base = ["run", "base_to_novel", "method=adaring", "method.form=adapter", *LIKE, *ranks]
    words = [*base, "train.epochs=0", "method.start=full_rank"]
    words.remove("train.epochs=1")  # rank 4 of a bottleneck of 4: the rings can be exact
    assert main.call([*words, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert main.call([*base, "--dry-run", "--json"]) == 0
    cold = json.loads(capsys.readouterr().out)
    assert plan["parameters"] == cold["parameters"]
    assert main.call([*words, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["digest"] == plan["digest"]
    ledger = open_ledger()
    source = ledger.find(digest_of("full_rank"))
    mine = ledger.find(done["digest"])
    assert source is not None
    assert mine is not None
    for name in ("acc/base", "acc/novel", "acc/val"):
        assert mine.metrics[name] == source.metrics[name]
    errors = {k: v for k, v in mine.metrics.items() if k.startswith("start_error/")}
    matrices = {f"start_error/{t}.{m}" for t in ("image", "text") for m in ("down", "up")}
    assert set(errors) == matrices
    assert max(errors.values()) < 1e-3
    assert mine.metrics["time/source_seconds"] == source.metrics["time/train_seconds"]
    assert mine.metrics["time/start_seconds"] > 0
    assert mine.tags["start"] == source.digest
    assert mine.tags["start_run"] == source.id
    assert mine.tags["start_seed"] == "1"
    assert mine.tags["start_seen"] == "nothing"
    assert mine.params["method.start"] == plan["spec"]["method"]["start"]
    assert main.call(words) == 0
    assert "[already recorded]" in capsys.readouterr().err
    assert main.call(["anatomy", done["digest"], "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["start"]
    assert shown["run"] == source.digest
    assert set(shown["errors"]) == {"image.down", "image.up", "text.down", "text.up"}


def test_suites_with_workers_and_sweeps_start_each_cell_from_its_own_run(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = ["adaring.start=full_rank", "adaring.form=adapter"]
    grid = ["methods=adaring", *begin, "seeds=1,2", *LIKE]
    assert main.call(["suite", "base_to_novel", *grid, "--workers", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["finished_now"] == 2
    runs = [r for r in open_ledger().runs() if r.tags["method"] == "adaring"]
    assert {(r.tags["seed"], r.tags["start_seed"]) for r in runs} == {("1", "1"), ("2", "2")}
    assert len({r.tags["configuration"] for r in runs}) == 1
    assert main.call(["leaderboard"]) == 0
    assert "the training of runs that others started from" in capsys.readouterr().err
    assert main.call(["leaderboard", "--json"]) == 0
    (row,) = (r for r in json.loads(capsys.readouterr().out) if r["method"] == "adaring")
    assert row["acc/hmean_n"] == 2
    words = ["ring_rank", "method.start=full_rank", "method.form=adapter", "seeds=1,2", *LIKE]
    words += ["--sampler", "grid", "--trials", "2"]
    assert main.call(["sweep", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ends"] == {"complete": 2}
    assert f"method.start={digest_of('full_rank')}-" in found["best"][0]["command"]
    tuned = [r for r in open_ledger().runs() if r.tags["selection"] == "val" and "start" in r.tags]
    assert {r.tags["start_seed"] for r in tuned} == {"1", "2"}
    assert all(r.metrics["start_error/image.up"] > 0 for r in tuned)


def test_the_errors_of_the_rings_are_those_of_the_saved_cores(home: Path) -> None:
    """An untrained started run against its source, both read from their records."""
    spec = source_lookup.resolve_source_runs(
        spec_of("method.start=full_rank", "method.slice_size=2")
    )
    spec = replace(spec, train=replace(spec.train, epochs=0))
    result = execute.execute(spec)
    source = source_of(spec)
    assert source is not None
    for tower in ("image", "text"):
        layers = sum(name.endswith(".up") for name in source.state if name.startswith(tower))
        for side in ("down", "up"):
            stack = np.stack([source.state[f"{tower}.{i}.{side}"].numpy() for i in range(layers)])
            parts = (result.state[f"{tower}.{side}.{c}"] for c in ("slices", "left", "right"))
            made = np.einsum("alb,bic,cja->lij", *(p.numpy() for p in parts))
            gap = np.linalg.norm(stack - made) / np.linalg.norm(stack)
            assert result.metrics[f"start_error/{tower}.{side}"] == pytest.approx(gap, abs=1e-4)


@pytest.mark.parametrize(
    "words",
    [
        ["method=full_rank", "method.scale=0.5", "method.activation=relu"],
        ["method=adaring", "method.form=adapter", "method.scale=2.0"],
        ["method=adaring", "method.form=adapter", "method.reading=one_ring"],
        ["method=adaring", "method.ranks=[[2,3],[4,2]]", "method.combine=layer_gate"],
        ["method=full_rank", "method.form=delta", "method.sites=q,o,fc"],
        ["method=adaring", "method.slice_size=2", "method.scale=0.5"],
        ["method=lora", "method.sites=q,v,proj", "method.layers=top:1"],
    ],
    ids=" ".join,
)
def test_what_is_learnt_makes_the_same_model_again(words: list[str], images: Images) -> None:
    """As plain adapters or updates; nothing is lost or counted twice."""
    spec = config.build("few_shot", words)
    backbone = load_backbone(spec.backbone)
    adapter = spec.method.attach(backbone.clip, task_of(backbone))
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in adapter.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=rng))
    tags = {"digest": "run", "backbone_hash": backbone.digest}
    found = warm_start.load_weights(SourceRun(spec, adapter.state(), {}, tags), backbone)
    assert found is not None
    sizes = {p.down.shape[1] for p in found.adapters.values()}
    sites = {s for s in ("q", "k", "v", "o", "fc", "proj")
             for b in backbone.clip.blocks() if b.site(s) in found.updates}  # fmt: skip
    plain = FullRank(
        form="delta" if sites else "adapter", bottleneck=max(sizes, default=32),
        activation=getattr(spec.method, "activation", "gelu"),
        sites=tuple(sorted(sites)), layers="top:1" if spec.method_name == "lora" else "all",
    )  # fmt: skip
    copy = plain.attach(backbone.clip, task_of(backbone))
    state = {f"{t}.{i}.{s}": getattr(p, s) for (t, i), p in found.adapters.items()
             for s in ("down", "up")}  # fmt: skip
    for block in backbone.clip.blocks(layers=plain.layers):
        state |= {f"{block.key}.{s}": found.updates[block.site(s)] for s in sites}
    load_state(copy, {name: value.float() for name, value in state.items()})
    prompts = backbone.prompts(TEMPLATE, NAMES)
    with torch.no_grad():
        one, two = (
            Classifier(backbone, a, prompts)(images.pixels, a.bind()).logits
            for a in (adapter, copy)
        )
    torch.testing.assert_close(one, two, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "words",
    [
        ["method=clip_adapter"],
        ["method=zero_shot"],
        ["method=full_finetune"],
        ["method=adaring", "method.form=adapter", "method.reading=parallel"],
        [
            "method=adaring",
            "method.form=adapter",
            "method.ranks=[[2,3],[4,2]]",
            "method.combine=input_gate",
        ],
    ],
    ids=" ".join,
)
def test_runs_that_are_made_of_something_else_are_refused(words: list[str]) -> None:
    source = SourceRun(config.build("few_shot", words), {}, {}, {"digest": "run"})
    with pytest.raises(UsageError, match="does not consist of adapters behind MLPs"):
        warm_start.outline_weights(source)


def test_data_sets_that_are_only_tested_must_be_new_to_the_source(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.parquet" for name in ("one", "two", "three")]
    for i, path in enumerate(paths):
        drawn(path, 60 * i)
    spec = on(paths[0], f"data.targets={paths[1]}", preset="cross_dataset")
    table = leakage.data_use(on(paths[1])).tables[0]
    assert {("", table.images[row]) for row in table.rows("test")} <= leakage.data_use(spec).held
    with pytest.raises(UsageError, match=r"two\.parquet, which is only tested here"):
        leakage.check_leakage(spec, on(paths[1]), recorded(on(paths[1])))
    for source in (spec, on(paths[0]), on(paths[2])):
        assert leakage.check_leakage(spec, source, recorded(source))["start_seen"] == "nothing"
