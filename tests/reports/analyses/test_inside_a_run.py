"""What is seen inside one run: redundancy across layers, and the anatomy of rings."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from harness.cli import main
from harness.tracking.ledger import open_ledger
from methods.kit.core.errors import UsageError
from methods.kit.ring.decompose import decompose
from reports.analyses import layer_redundancy, ring_anatomy

FAST = ["data=digits", "data.shots=1", "train.epochs=1", "-q"]


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def test_equal_layers_are_one_layer_and_orthogonal_ones_as_many_as_there_are() -> None:
    same = layer_redundancy.layer_spectrum("same", randn(1, 4, 3).expand(5, 4, 3))
    assert same.shares[0] == pytest.approx(1.0)
    assert same.effective == pytest.approx(1.0)
    apart = torch.eye(5, dtype=torch.double).reshape(5, 5, 1)
    assert layer_redundancy.layer_spectrum("apart", apart).effective == pytest.approx(5.0)


def test_a_ring_is_found_where_there_is_one_and_its_size_is_counted() -> None:
    cores = randn(2, 6, 2), randn(2, 9, 1, seed=1), randn(1, 7, 2, seed=2)
    stack = torch.einsum("alb,bic,cja->lij", *cores)
    found = {
        (f.slice_size, f.ring_rank): f for f in layer_redundancy.fit_rings("x", stack, [1, 2], [1])
    }
    assert found[2, 1].error < 1e-3
    assert found[2, 1].parameters == sum(c.numel() for c in cores)
    assert found[2, 1].share == pytest.approx(sum(c.numel() for c in cores) / stack.numel())
    assert found[1, 1].error > 0.1
    assert layer_redundancy.rings_on_front(list(found.values()))[-1].slice_size == 2


def test_rings_that_save_nothing_are_left_out() -> None:
    assert layer_redundancy.fit_rings("x", randn(2, 3, 3), [8], [8]) == []


def test_compaction_changes_no_error() -> None:
    stack = randn(4, 20, 2) @ randn(4, 2, 15, seed=1)  # updates of rank 2
    small = layer_redundancy.compress_stack(stack)
    assert small.shape == (4, 8, 8)
    assert float(small.norm()) == pytest.approx(float(stack.norm()))
    errors = [decompose(x, (2, 2), 2, sweeps=300, starts=6).error for x in (stack, small)]
    assert errors[0] == pytest.approx(errors[1], abs=0.02)


def test_alike_slices_and_cores_are_measured() -> None:
    slices = randn(2, 3, 2)
    slices[:, 1] = 2 * slices[:, 0]
    slices[:, 2] = 0
    state = {"image.down.slices": slices, "image.down.left": randn(2, 5, 2), "image.bias": randn(3)}
    parts = ring_anatomy.read_anatomy(state, pd.DataFrame(), "adaring")
    cosines = parts.alike["image.down"]
    assert float(cosines[0, 1]) == pytest.approx(1.0)
    assert float(cosines[0, 2]) == 0.0
    by_name = {c.name: c for c in parts.cores}
    assert set(by_name) == {"image.down.slices", "image.down.left"}
    left = state["image.down.left"]
    assert by_name["image.down.left"].norm == pytest.approx(float(left.pow(2).sum().sqrt()))
    with pytest.raises(UsageError, match="no rings to look into"):
        ring_anatomy.read_anatomy({"image.0.q.down": randn(2, 3)}, pd.DataFrame(), "lora")


def recorded(method: str) -> str:
    """The digest of the only finished run of a method."""
    return next(r.digest for r in open_ledger().runs() if r.tags["method"] == method)


def test_a_recorded_run_is_drawn_twice_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["run", "base_to_novel", "method=full_rank", *FAST]) == 0
    ranks = ["method.ranks=[[1,2],[2,3]]", "method.combine=layer_gate"]
    assert main.call(["run", "base_to_novel", "method=adaring", *ranks, *FAST]) == 0
    small = ["--slices", "1,2", "--rings", "1"]
    for out in ("one", "two"):
        folder = ["--out", str(tmp_path / out)]
        assert main.call(["redundancy", recorded("full_rank")[:8], *small, *folder]) == 0
        assert main.call(["anatomy", recorded("adaring"), *folder]) == 0
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert "redundancy.png" in names
    assert "anatomy-ranks.csv" in names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    for name in ("redundancy", "anatomy"):
        manifest = tmp_path / "one" / f"{name}.manifest.json"
        assert main.call(["verify", str(manifest)]) == 0
    rings = tmp_path / "one" / "redundancy-rings.csv"
    changed = pd.read_csv(rings)
    changed.loc[0, "error"] += 0.1
    changed.to_csv(rings, index=False)
    capsys.readouterr()
    assert main.call(["verify", str(rings)]) != 0
    assert "error" in capsys.readouterr().out
    usage = pd.read_csv(tmp_path / "one" / "anatomy-ranks.csv")
    assert usage.groupby("row")["value"].sum().tolist() == pytest.approx([1.0] * 18)
    capsys.readouterr()
    assert main.call(["redundancy", recorded("full_rank"), *small, "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert {row["matrix"] for row in tables["redundancy-spectrum"]} == {
        "image.down", "image.up", "text.down", "text.up"
    }  # fmt: skip


def test_wrong_words_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["run", "base_to_novel", "method=zero_shot", *FAST]) == 0
    run = recorded("zero_shot")
    for words, told in (
        (["redundancy", "nothing"], "no finished run of that id"),
        (["redundancy", run], "no matrices of its own in each layer"),
        (["redundancy", run, "--slices", "0"], "expected whole numbers from 1"),
        (["redundancy", run, "--rings", "a"], "expected whole numbers from 1"),
        (["anatomy", run], "no rings to look into"),
    ):
        capsys.readouterr()
        assert main.call(words) == 2
        shown = capsys.readouterr().err
        assert told in shown
        assert shown.count("\n") == 1
