"""`ringbench verify`: whatever one number is changed, it is named."""

import csv
import hashlib
import io
import json
import random
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.cli import main
from reports.provenance.diff import Problem
from reports.site import build, folder, links
from reports.site.folder import write_site
from reports.site.verify import verify_site
from tests.reports.site import known_site
from tests.reports.site.known_site import Planted

BOARD = "boards/base_to_novel-embedded"
RUNS = known_site.suite(methods=3)
LORA = known_site.of(RUNS, "lora", "x", 1)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    monkey = pytest.MonkeyPatch()
    monkey.setenv("RINGBENCH_HOME", str(tmp_path_factory.mktemp("home")))
    folder = tmp_path_factory.mktemp("built") / "site"
    write_site(lambda: build.site_files(Planted(RUNS)), folder)
    monkey.undo()
    return folder


@pytest.fixture
def site(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "site"))


def problems(site: Path) -> list[Problem]:
    return verify_site(site, "records", None).problems


def rewrite(site: Path, name: str, data: bytes, honest: bool) -> None:
    """Write a file; an honest manifest is left, a forged one gets the new hash."""
    (site / name).write_bytes(data)
    if not honest:
        manifest = json.loads((site / "manifest.json").read_text())
        manifest["files"][name] = hashlib.sha256(data).hexdigest()
        (site / "manifest.json").write_text(json.dumps(manifest))


def test_a_site_as_it_was_made_is_equal(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert problems(site) == []
    assert main.call(["verify", str(site)]) == 0
    said = capsys.readouterr().err
    assert "12 runs (0 from the ledger, 12 from the site's records)" in said
    assert "all is equal" in said


@pytest.mark.parametrize("honest", [True, False])
def test_any_number_of_a_table_is_named(site: Path, honest: bool) -> None:
    """In each of many files one number, chosen at random, is another."""
    rng, changed = random.Random(honest), []
    for path in [f"{BOARD}/files/{n}" for n in ("leaderboard.csv", "pareto.csv", "aggregate.csv")]:
        rows = list(csv.reader(io.StringIO((site / path).read_text())))
        numeric = [(i, j) for i, row in enumerate(rows) for j, cell in enumerate(row)
                   if i and re.fullmatch(r"-?\d+\.\d+", cell)]  # fmt: skip
        i, j = rng.choice(numeric)
        was, rows[i][j] = rows[i][j], repr(float(rows[i][j]) + 0.25)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        rewrite(site, path, text.getvalue().encode(), honest)
        changed.append((path, f"column {rows[0][j]}", rows[i][j], was))
    pages = [f"{BOARD}/{n}.html" for n in ("index", "pareto", "compare")]
    for path in ("index.html", "runs/index.html", links.run(LORA), *pages):
        page = (site / path).read_text()
        cell = rng.choice(list(re.finditer(r"<td[^>]*>(?:<a[^>]*>)?([+-]?\d+\.\d+)<", page)))
        was, now = cell.group(1), f"{float(cell.group(1)) + 1:.2f}"
        rewrite(site, path, (page[: cell.start(1)] + now + page[cell.end(1) :]).encode(), honest)
        changed.append((path, "column", now, was))
    found = {p.file: p for p in problems(site)}
    assert set(found) == {path for path, *_ in changed}
    for path, where, now, was in changed:
        assert where in found[path].where
        assert (found[path].found.split()[0], found[path].expected.split()[0]) == (now, was)


@pytest.mark.parametrize("honest", [True, False])
def test_any_number_of_a_record_is_named(site: Path, honest: bool) -> None:
    """In each of some runs one number is another; their pages say what it was."""
    name, rng = "records/runs.jsonl", random.Random(honest)
    records = [json.loads(line) for line in (site / name).read_text().splitlines()]
    changed = []
    for record in records[4:]:  # zero-shot's stay, or every change against it is another
        kind = rng.choice(["metrics", "metrics", "tags", "params"])
        keys = {"tags": ["seed", "shots"], "params": ["data.shots", "seed"]}
        key = rng.choice(keys.get(kind, sorted(record["metrics"])))
        was = record[kind][key]
        record[kind][key] = was + 2.5 if isinstance(was, float) else "7"
        changed.append((record["id"], key))
    rewrite(site, name, "".join(json.dumps(r) + "\n" for r in records).encode(), honest)
    found = problems(site)
    for run, key in changed:
        assert any(p.file == links.run(run) and key in p.where for p in found), (run, key)
    assert honest == any(p.file == name and p.where == "SHA-256" for p in found)


def test_an_accuracy_that_the_answers_contradict_is_named_with_all_that_rests_on_it(
    site: Path,
) -> None:
    name = "records/runs.jsonl"
    records = [json.loads(line) for line in (site / name).read_text().splitlines()]
    mine = next(r for r in records if r["id"] == LORA.id)
    mine["metrics"]["acc/base"] += 2.5
    rewrite(site, name, "".join(json.dumps(r) + "\n" for r in records).encode(), honest=False)
    found = problems(site)
    was, now = LORA.metrics["acc/base"], LORA.metrics["acc/base"] + 2.5
    (own,) = [p for p in found if p.file == name and p.where.endswith("acc/base")]
    assert (own.where, own.found, own.expected) == (
        f"run {LORA.id}, metrics, acc/base", repr(now), repr(was)
    )  # fmt: skip
    assert any(p.file.endswith("leaderboard.csv") and "acc/base_mean" in p.where for p in found)


def test_a_changed_answer_contradicts_the_accuracy(site: Path) -> None:
    name = "records/answers.parquet"
    file = pq.ParquetFile(site / name)
    groups = [file.read_row_group(g) for g in range(file.num_row_groups)]
    table = groups[3]
    said = table["predicted"].to_pylist()
    said[0] = "base-3"  # image 0 is of base-0
    column = pa.array(said).dictionary_encode().cast(table.schema.field("predicted").type)
    place = table.schema.get_field_index("predicted")
    groups[3] = table.set_column(place, table.schema.field("predicted"), column)
    out = io.BytesIO()
    with pq.ParquetWriter(out, file.schema_arrow, compression="zstd") as writer:
        for group in groups:
            writer.write_table(group)
    rewrite(site, name, out.getvalue(), honest=False)
    run = Planted(RUNS).runs[3]
    assert any(run.id in p.where and "acc/base" in p.where for p in problems(site))


def test_changed_missing_and_foreign_files_are_named(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / BOARD / "files/leaderboard.tex").unlink()
    (site / BOARD / "better.html").write_text("<p>trust me</p>")
    with (site / "site.css").open("a") as file:
        file.write("td { display: none }\n")
    page = site / BOARD / "index.html"
    page.write_text(page.read_text().replace("Best in bold", "Ours in bold"))
    forged = f"{BOARD}/compare.html"
    text = (site / forged).read_text().replace("points of H", "points of joy")
    rewrite(site, forged, text.encode(), honest=False)
    assert main.call(["verify", str(site)]) == 1
    said = capsys.readouterr().out
    for line in (
        f"{BOARD}/files/leaderboard.tex: missing",
        f"{BOARD}/better.html: not in the manifest",
        "site.css: line ",
        f"{BOARD}/index.html: line ",
        f"{forged}: line ",
    ):
        assert any(found.startswith(line) for found in said.splitlines()), line
    assert len(said.splitlines()) == 5
    assert "points of joy" in said
    assert "points of H" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no such file or folder"),
        ("", "not a site"),
        ("{", "damaged"),
        ('{"kind": "other"}', "of something else"),
        ('{"kind": "ringbench site", "files": 3}', "damaged"),
    ],
)
def test_what_is_not_a_site_is_wrong_usage(
    text: str | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    if text is not None:
        folder.mkdir()
    if text:
        (folder / "manifest.json").write_text(text)
    assert main.call(["verify", str(folder)]) == 2
    assert says in capsys.readouterr().err


def test_records_are_checked_against_the_ledger_where_it_has_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records, tables and manifest are forged together: only the ledger can tell."""
    fast = ["data=digits", "data.shots=1", "data.val_shots=1", "-q"]
    assert main.call(["run", "few_shot", "method=zero_shot", *fast]) == 0
    site = tmp_path / "site"
    assert main.call(["report", "--out", str(site)]) == 0
    assert main.call(["verify", str(site), "--from", "ledger"]) == 0
    record = json.loads((site / "records/runs.jsonl").read_text())
    was = record["metrics"]["ece/test"]
    from reports.site import records

    forged = record | {"metrics": {**record["metrics"], "ece/test": 1.5}}
    found = records.FromRecords(
        json.dumps(forged), (site / "records/answers.parquet").read_bytes(), {}
    )
    folder.write_site(lambda: build.site_files(found), site)
    capsys.readouterr()
    assert main.call(["verify", str(site), "--from", "records"]) == 0
    capsys.readouterr()
    assert main.call(["verify", str(site)]) == 1
    said = capsys.readouterr().out
    run = record["id"]
    assert f"records/runs.jsonl: run {run}, metrics, ece/test: is 1.5, should be {was}" in said
    assert f"runs/{run}.html: table numbers" in said
    monkeypatch.setenv("RINGBENCH_HOME", str(tmp_path / "elsewhere"))
    assert main.call(["verify", str(site), "--from", "ledger"]) == 1
    assert f"run {run}: not in the ledger" in capsys.readouterr().out
    assert main.call(["verify", str(site)]) == 0  # no ledger there: only its own records
