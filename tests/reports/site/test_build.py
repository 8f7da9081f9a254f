"""The site as files: what is in it, that it is the same again, and that it harms nothing."""

import csv
import hashlib
import io
import json
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from harness.cli import main
from harness.tracking.ledger import open_ledger
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.analyses import dominated_share, pareto
from reports.provenance import diff
from reports.results import predictions
from reports.results.board import boards
from reports.site import charts, folder, image_licences, links
from reports.site.build import site_files
from reports.site.folder import write_site
from tests.reports import known_runs
from tests.reports.site import known_site
from tests.reports.site.known_site import Planted

BOARD = "boards/base_to_novel-embedded"
RUNS = known_site.suite(methods=3)


def build(folder: Path, runs: Sequence[Run] = RUNS) -> Path:
    write_site(lambda: site_files(Planted(runs)), folder)
    return folder


def tables_only(folder: Path, runs: Sequence[Run] = RUNS) -> Path:
    """A site without the pictures for papers, which take longest."""
    write_site(lambda: site_files(Planted(runs), drawn=False), folder)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    monkey = pytest.MonkeyPatch()
    monkey.setenv("RINGBENCH_HOME", str(tmp_path_factory.mktemp("home")))
    folder = build(tmp_path_factory.mktemp("built") / "site")
    monkey.undo()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_the_same_rows_give_the_same_bytes_whatever_their_order(
    built: Path, tmp_path: Path
) -> None:
    one = contents(built)
    assert contents(build(tmp_path / "two", RUNS[::-1])) == one
    assert set(json.loads(one["manifest.json"])["files"]) == set(one) - {"manifest.json"}


def test_the_leaderboard_shows_the_planted_means_and_links_to_their_runs(built: Path) -> None:
    heads, *rows = diff.html_tables((built / BOARD / "index.html").read_bytes())["board"]
    shown = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
    for method in ("zero_shot", "lora", "adaring"):
        mine = [r for r in RUNS if r.tags["method"] == method]
        by_seed = [known_site.average_h([r for r in mine if r.tags["seed"] == s]) for s in "12"]
        assert shown[method]["average H"].split()[0] == f"{sum(by_seed) / 2:.2f}"
        on_x = [known_site.h(r) for r in mine if r.tags["dataset"] == "x"]
        assert shown[method]["x"].split()[0] == f"{sum(on_x) / 2:.2f}"
    (row,) = (built / BOARD / "rows").glob("adaring-*.html")
    for run in (r for r in RUNS if r.tags["method"] == "adaring"):
        assert f'href="../../../{links.run(run)}"' in row.read_text()
        page = (built / links.run(run)).read_text()
        assert all(f">{v}<" in page for v in (run.digest, run.tags["git_commit"]))


def test_the_front_has_the_chances_and_shares_of_the_command(built: Path) -> None:
    """What `ringbench pareto` says of the same runs."""
    (board,) = boards(RUNS)
    asked = pareto.find_axes(board, "params/trainable", "acc/hmean")
    found = pareto.pareto_points(board, asked)
    tables = diff.html_tables((built / BOARD / "pareto.html").read_bytes())
    heads, *rows = tables["plane-params-trainable-table"]
    place = heads.index("P(on front)")
    assert {r[0]: r[place] for r in rows} == {p.label: f"{p.chance:.0%}" for p in found}
    heads, *rows = tables["families"]
    measured = dominated_share.dominated_shares(board, found, asked)
    assert [r[0] for r in rows] == [f.method for f in measured]
    assert [r[2] for r in rows] == [f"{f.share:.1%}" for f in measured]
    csv = pd.read_csv(built / BOARD / "files" / "pareto-families.csv")
    assert csv["dominated_low"].tolist() == pytest.approx([f.low for f in measured])
    assert (csv["dominated_low"] >= 0).all()


def test_ticks_of_a_cost_are_round_and_three_or_more() -> None:
    for low, high in ((8192, 8192), (7e8, 1.6e9), (7e3, 4.2e4), (10, 1e6), (0.02, 0.5)):
        texts = [text for _, text in charts.cost_axis([low, high], "bytes").ticks]
        assert len(texts) >= 3
        assert all(len(text) <= 4 for text in texts), texts


def test_a_run_page_has_confusion_and_changes_against_zero_shot(built: Path) -> None:
    run, zero = (known_site.of(RUNS, m, "x", 1) for m in ("lora", "zero_shot"))
    page = diff.html_tables((built / links.run(run)).read_bytes())
    heads, *rows = page["confusion-base"]
    counts = {row[0]: dict(zip(heads[1:], map(int, row[1:]), strict=True)) for row in rows}
    assert sum(counts[n][n] for n in counts) == round(run.metrics["acc/base"] * 40 / 100)
    # planted: the first images of a half are right, image i is of class i modulo 5
    for line in page["changes-base"][1:]:
        c = int(line[0].removeprefix("base-"))
        mine, theirs = (
            sum(i % 5 == c for i in range(round(r.metrics["acc/base"] * 40 / 100))) / 8
            for r in (run, zero)
        )
        assert [float(x) for x in line[1:]] == [100 * mine, 100 * theirs, 100 * (mine - theirs)]


def test_everything_from_the_ledger_is_escaped(tmp_path: Path) -> None:
    bad = '<script>alert("1")</script>&\'"'
    odd = [
        known_runs.run("lora", bad, s, {"acc/base": 50.0, "acc/novel": 50.0 + m},
                    {"rank": f"{m}{bad}"}, protocol="base_to_novel", git_commit=bad, error=bad)
        for s in (1, 2) for m in (1, 2)
    ]  # fmt: skip
    folder = tables_only(tmp_path / "site", odd)
    for path in folder.rglob("*.html"):
        text = path.read_text()
        assert "<script>" not in text
        assert 'alert("1")' not in text
    names = [p.name for p in folder.rglob("*")]
    assert not any(c in name for name in names for c in "<>&'\" ")


def test_images_are_shown_only_where_their_notice_allows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert image_licences.licence_notice("digits").allowed
    assert "CC-BY-4.0" in image_licences.licence_notice("digits").why
    assert not image_licences.licence_notice("caltech101").allowed
    fast = ["data.shots=1", "data.val_shots=1", "-q"]
    assert main.call(["run", "base_to_novel", "method=zero_shot", "data=digits", *fast]) == 0
    assert main.call(["report", "--out", str(tmp_path / "site")]) == 0
    pictures = list((tmp_path / "site" / "images" / "digits").glob("*.png"))
    assert 1 <= len(pictures) <= predictions.SHOWN
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    assert "E. Alpaydin" in (tmp_path / "site" / "images" / "NOTICE.md").read_text()
    monkeypatch.setattr(image_licences, "ALLOWED", {"MIT"})
    assert main.call(["report", "--out", str(tmp_path / "other")]) == 0
    assert not (tmp_path / "other" / "images").exists()
    (page,) = (p for p in (tmp_path / "other" / "runs").glob("*.html") if p.name != "index.html")
    assert "Not shown: the notice of digits does not allow it (CC-BY-4.0)" in page.read_text()


def test_a_large_suite_is_light(tmp_path: Path) -> None:
    """20 methods, 5 data sets, 3 seeds: a page with all it loads is under 3 MB."""
    runs = known_site.suite(20, ("a", "b", "c", "d", "e"), 3)
    found = contents(tables_only(tmp_path / "site", runs))
    fixed = len(found["site.css"]) + len(found["site.js"])
    pages = {name: len(data) for name, data in found.items() if name.endswith(".html")}
    assert len(pages) > 300
    assert fixed + max(pages.values()) < 3_000_000
    assert fixed + len(found[f"{BOARD}/index.html"]) < 300_000
    assert sum(map(len, found.values())) < 7_000_000


def test_only_what_the_manifest_lists_is_replaced(tmp_path: Path) -> None:
    folder = tables_only(tmp_path / "site", known_site.suite(4))
    (folder / "my-notes.txt").write_text("mine")
    gone = next((folder / BOARD / "rows").glob("clip_adapter-*.html"))
    tables_only(folder)
    assert (folder / "my-notes.txt").read_text() == "mine"
    assert not gone.exists()
    assert not list(folder.glob(".*"))
    (folder / "my-notes.txt").unlink()
    assert contents(folder) == contents(tables_only(tmp_path / "new"))


def test_other_peoples_folders_and_files_are_refused(tmp_path: Path) -> None:
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "thesis.tex").write_text("years")
    file.write_text("also")
    with pytest.raises(UsageError, match=r"holds other files \(thesis.tex\) and no site"):
        tables_only(full)
    with pytest.raises(UsageError, match="is a file"):
        tables_only(file)
    assert contents(full) == {"thesis.tex": b"years"}
    folder = tables_only(tmp_path / "site")
    extra = folder / "methods" / "clip_adapter.html"
    extra.write_text("mine")
    before = contents(folder)
    with pytest.raises(UsageError, match=r"clip_adapter.html: in the way"):
        tables_only(folder, known_site.suite(4))
    assert contents(folder) == before
    broken = json.loads((folder / "manifest.json").read_text())
    broken["files"]["../full/thesis.tex"] = "0"
    (folder / "manifest.json").write_text(json.dumps(broken))
    with pytest.raises(UsageError, match="damaged"):
        tables_only(folder)
    assert (full / "thesis.tex").exists()


def test_a_disk_that_is_full_leaves_the_old_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tables_only(tmp_path / "site")
    before = contents(folder)
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name.startswith("runs"):
            raise OSError(28, "No space left on device", str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match=r"No space left on device.*set --out"):
        tables_only(folder, known_site.suite(4))
    assert contents(folder) == before


def test_a_build_that_was_killed_is_mended_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tables_only(tmp_path / "site")
    move, moved = Path.replace, []

    def dies(path: Path, target: Path) -> Path:
        moved.append(path)
        if len(moved) == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return move(path, target)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(Path, "replace", dies)
        tables_only(folder, known_site.suite(4))
    assert os.waitpid(child, 0)[1] != 0
    assert json.loads((folder / "manifest.json").read_text())["state"] == "building"
    tables_only(folder)
    assert contents(folder) == contents(tables_only(tmp_path / "new"))


def test_nothing_recorded_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["report", "--out", str(tmp_path / "site")]) == 2
    assert "nothing is recorded yet" in capsys.readouterr().err
    failed = [replace(r, status="failed", metrics={}) for r in RUNS]
    with pytest.raises(UsageError, match="no run is finished yet"):
        tables_only(tmp_path / "site", failed)


def test_of_very_many_runs_only_the_best_rows_are_shown_in_detail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reports.site import content

    monkeypatch.setattr(content, "DETAIL_LIMIT", 5)
    val = {"acc/val_hmean": 50.0, "acc/base": 50.0, "acc/novel": 50.0}
    worse = [known_runs.run("lora", d, s, val, {"rank": 1}, protocol="base_to_novel")
             for d in ("x", "y") for s in (1, 2)]  # fmt: skip
    best = [r for r in RUNS if r.tags["method"] == "lora"]
    folder = tables_only(tmp_path / "site", [*RUNS, *worse])
    assert "confusion-base" in (folder / links.run(best[0])).read_text()
    page = (folder / links.run(worse[0])).read_text()
    assert "confusion-base" not in page
    assert "only those of each method" in page


def test_csv_of_the_site_is_the_leaderboards(built: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((built / BOARD / "files/leaderboard.csv").read_text())))
    lora = next(r for r in rows if (r["method"], r["dataset"]) == ("lora", "x"))
    on_x = [
        r.metrics["acc/base"]
        for r in RUNS
        if (r.tags["method"], r.tags["dataset"]) == ("lora", "x")
    ]
    assert float(lora["acc/base_mean"]) == pytest.approx(sum(on_x) / 2)


def test_sweeps_have_pages_without_the_address_of_their_database(
    own_home: Path, tmp_path: Path
) -> None:
    from reports.site import records
    from tests.reports.analyses.test_sweep import planted as sweep

    sweep(own_home, storage="postgresql://me:secret@host/db")
    found = Planted(RUNS)
    found.sweeps = records.stored_sweeps()
    folder.write_site(lambda: site_files(found, drawn=False), tmp_path / "site")
    page = (tmp_path / "site/sweeps/mine/index.html").read_bytes()
    tables = diff.html_tables(page)
    assert len(tables["trials"]) == 1 + 11
    assert tables["map"][1][1:] == ["50.00", "52.20", "53.80"]  # rank 1: 50 + 2.5 i - 0.3 i^2
    assert not any(b"secret" in data for data in contents(tmp_path / "site").values())


def test_every_number_of_a_comparison_leads_to_its_runs(built: Path) -> None:
    page = (built / BOARD / "compare.html").read_text()
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page)
    assert len(cells) > 50
    assert all(cell.startswith("<a href=") for cell in cells if re.search(r"\d", cell))
    (pair,) = (built / BOARD / "pairs").glob("lora--adaring*") or (built / BOARD / "pairs").glob(
        "adaring--lora*"
    )
    assert f"pairs/{pair.name}#x" in page
    heads, *rows = diff.html_tables(pair.read_bytes())["x"]
    first = pair.name.partition("--")[0]
    second = "adaring" if first == "lora" else "lora"
    for row in rows:
        told = dict(zip(heads, row, strict=True))
        mine, other = (
            known_site.of(RUNS, method, "x", int(told["seed"])) for method in (first, second)
        )
        assert f'href="../../../{links.run(mine)}"' in pair.read_text()
        assert told["H first"] == f"{known_site.h(mine):.4f}"
        assert told["difference"] == f"{known_site.h(mine) - known_site.h(other):+.4f}"


def test_a_trial_has_a_page_with_its_runs(own_home: Path, tmp_path: Path) -> None:
    from reports.site import verify
    from reports.site.records import TRIAL_RECORDS, stored_sweeps
    from tests.reports.analyses.test_sweep import planted as sweep

    table = pd.read_csv(sweep(own_home) / "trials.csv")
    both = [
        known_runs.run("adaring", d, 1, {"acc/val_hmean": value}, {"ring_rank": 1},
                    protocol="base_to_novel", git_commit="c0ffee", selection="val")
        for d, value in (("digits", 51.5), ("flags", 48.5))
    ]  # fmt: skip
    table["digests"] = [" ".join(r.digest.replace(" ", "_") for r in both), *[""] * 10]
    table.to_csv(own_home / "sweeps/mine/trials.csv", index=False)
    tuned = [replace(r, tags=r.tags | {"digest": r.digest.replace(" ", "_")}) for r in both]
    found = Planted([*RUNS, *tuned])
    found.sweeps = stored_sweeps()
    site = tmp_path / "site"
    folder.write_site(lambda: site_files(found, drawn=False), site)
    index = (site / "sweeps/mine/index.html").read_text()
    assert all(f'href="trials/{n}.html" aria-label' in index for n in range(9))
    assert '<a href="trials/8.html">' in index
    tables = diff.html_tables((site / "sweeps/mine/trials/0.html").read_bytes())
    heads, *rows = tables["runs"]
    assert [row[heads.index("data set")] for row in rows] == ["digits", "flags"]
    assert {row[heads.index("commit")] for row in rows} == {"c0ffee"}
    spec = dict(row for row in tables["spec"][1:])
    assert spec["digest"] == " | ".join(r.digest for r in tuned)
    assert "runs" not in diff.html_tables((site / "sweeps/mine/trials/8.html").read_bytes())
    assert verify.verify_site(site, "records", None).problems == []
    records = site / TRIAL_RECORDS
    records.write_text(records.read_text().replace("51.5", "58.5"))
    named = {p.file for p in verify.verify_site(site, "records", None).problems}
    assert named == {TRIAL_RECORDS, "sweeps/mine/trials/0.html", "sweeps/mine/trials.csv"}
    found.tuned[0].metrics["acc/val_hmean"] = 58.5  # as who forges it builds all anew
    folder.write_site(lambda: site_files(found, drawn=False), site)
    (told,) = verify.verify_site(site, "records", None).problems
    expected = "sweeps/mine/trials.csv: trial 0, acc/val_hmean: is 50.0, should be 53.5"
    assert str(told) == expected


def test_tables_of_the_commands_say_which_runs_they_are_made_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = ["data=digits", "data.shots=1", "data.val_shots=1", "seeds=1,2", "-q"]
    assert main.call(["suite", "few_shot", "methods=zero_shot", *fast]) == 0
    runs = {run.id: run for run in open_ledger().runs()}
    for name in ("leaderboard", "pareto"):
        assert main.call([name, "--out", str(tmp_path)]) == 0
        facts = json.loads((tmp_path / f"{name}.manifest.json").read_text())
        text = (tmp_path / f"{name}.csv").read_bytes()
        assert facts["files"][f"{name}.csv"] == hashlib.sha256(text).hexdigest()
        (row,) = facts["rows"]
        assert (row["method"], row["dataset"]) == ("zero_shot", "digits")
        assert set(row["runs"]) == set(facts["runs"]) == set(runs)
        for run, told in facts["runs"].items():
            assert told["digest"] == runs[run].digest
            assert told["data_hash"] == runs[run].tags["data_hash"]
            assert told["seed"] == int(runs[run].tags["seed"])
