"""Commands and code of README and docs, tried as they stand there."""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

import pytest

import methods
from harness.cli import main, run_output
from harness.data import public_sets
from harness.data.split import Images
from harness.model.backbone import Backbone
from harness.run import config
from harness.spec.spec import PROTOCOLS
from methods.kit import Method
from sweeps.suite.build import build_suite
from tests.drawn_images import class_folders
from tests.methods import test_contract as contract
from tests.methods.conformance import Case

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
DATA = DOCS / "data.md"
PLANNED = (README, *(DOCS / f"{name}.md" for name in ("sweeps", "warm-start", "models")))
PARSED = (DATA, *(DOCS / f"{name}.md" for name in ("multi-task", "own-data", "pareto", "related")))


def blocks(language: str, page: Path = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands(*verbs: str, pages: Sequence[Path] = (README,)) -> list[list[str]]:
    """Each different command once, as words, without ``ringbench``."""
    code = [b.replace("\\\n", " ") for page in pages for b in blocks("sh", page)]
    lines = dict.fromkeys(line for block in code for line in block.splitlines())
    words = [shlex.split(line, comments=True) for line in lines if line.startswith("ringbench ")]
    return [w[1:] for w in words if w[1] in verbs]


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.read_text().splitlines()) <= 170
    for page in (README, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not link.startswith("https://"):
                assert (page.parent / link).exists(), (page.name, link)


def test_the_index_of_the_docs_names_every_page_and_the_glossary_is_short() -> None:
    index = (DOCS / "README.md").read_text()
    for page in DOCS.glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name
    rows = [s for s in (DOCS / "glossary.md").read_text().splitlines() if s.startswith("| ")]
    assert len(rows) - 1 <= 40


def test_the_paths_of_the_documents_exist() -> None:
    for page in (README, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")):
        paths = re.findall(
            r"`((?:harness|methods|sweeps|reports|tests)/[\w/.-]+)`", page.read_text()
        )
        for path in {*paths} - {"methods/bitfit.py"}:  # the example is not in the folder
            shown = path.replace("NAME", "*")
            assert any(ROOT.glob(shown.rstrip("/"))), (page.name, path)


@pytest.fixture
def bitfit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Method]]:
    """The method of the README, found because its file lies in the folder."""
    source = next(b for b in blocks("python") if "class BitFit" in b)
    assert len(source.splitlines()) < 40
    (tmp_path / "bitfit.py").write_text(source)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    methods.find.cache_clear()
    yield methods.find("bitfit")
    methods.find.cache_clear()
    sys.modules.pop("methods.bitfit", None)


def test_the_method_of_the_readme_is_listed_and_counted(
    bitfit: type[Method], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "bitfit" in methods.names()
    # ViT-B/16: each block has biases of qkv 3d, out d, fc 4d, proj d and two norms; then
    # ln_pre, ln_post of the image tower and ln_final of the text tower.
    blocks_of = sum(12 * (3 + 1 + 4 + 1 + 2) * d for d in (768, 512))
    expected = blocks_of + 2 * 768 + 512
    assert (
        run_output.count_parameters("bitfit", [], "ViT-B-16-quickgelu", 100)["trainable"]
        == expected
    )
    assert main.call(["ls", "methods", "--json"]) == 0
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["bitfit"]["trainable (ViT-B/16)"] == expected
    assert rows["bitfit"]["folds"] == "yes"


def test_the_method_of_the_readme_keeps_the_contract(
    bitfit: type[Method], tiny: dict[str, Backbone], images: Images, tmp_path: Path
) -> None:
    contract.test_it_learns_four_images_with_wrong_labels_by_heart("bitfit")
    contract.test_what_acts_inside_a_tower_learns_four_images_by_heart(
        "bitfit", "flat", tiny, images
    )
    case = Case("bitfit", tiny["flat"], images)
    for check in (
        contract.test_the_backbone_is_bit_for_bit_what_it_was_after_training,
        contract.test_without_the_adapter_the_model_is_zero_shot,
        contract.test_it_starts_as_the_frozen_model_exactly_when_it_says_so,
        contract.test_training_moves_the_logits,
        contract.test_folding_gives_a_plain_open_clip_model_with_the_same_logits,
        contract.test_gradients_reach_every_parameter_within_two_steps,
        contract.test_trials_side_by_side_give_what_they_give_alone,
    ):
        check(case)
    contract.test_a_saved_state_gives_the_same_logits(case, tmp_path)


@pytest.mark.parametrize(
    "words", commands("suite", "run", "sweep", pages=PLANNED), ids=lambda w: " ".join(w[:3])
)
def test_the_commands_of_the_readme_that_train_can_be_planned(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    public: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "my-photos", images=14)
    own_files = {"pretrained=clip.safetensors"}
    code = main.call([*words, "--dry-run"])
    shown = capsys.readouterr()
    if any(word.endswith(".start=full_rank") for word in words):
        assert code == 2  # nothing is recorded to start from
        assert "no finished run 'full_rank'" in shown.err
        return
    if own_files & set(words):
        assert code == 2
        assert "no such file" in shown.err
    else:
        assert code == 0, shown.err
        assert "nothing was run" in shown.out


@pytest.mark.parametrize(
    "words",
    [w for w in commands("suite", "run", pages=PARSED) if w not in commands("suite")],
    ids=lambda w: " ".join(w[:3]),
)
def test_the_commands_of_the_pages_are_understood(words: list[str], public: Path) -> None:
    build = build_suite if words[0] == "suite" else config.build
    settings = takewhile(lambda word: not word.startswith("--"), words[2:])
    assert build(words[1], list(settings))


@pytest.mark.parametrize(
    "words",
    [w for w in commands("data", pages=(README, DATA)) if w[1] == "fewshot"],
    ids=lambda w: " ".join(w[2:]),
)
def test_the_subsets_of_the_pages_are_drawn(
    words: list[str], public: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(public, tmp_path / "data")
    assert main.call([*words, "--root", str(root)]) == 0
    assert "written" in capsys.readouterr().out


def test_the_folder_of_the_readme_is_checked_and_its_pixels_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class_folders(tmp_path / "my-photos")
    monkeypatch.chdir(tmp_path)
    (check,) = (w for w in commands("data") if w[1] == "check")
    assert main.call([*check, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["state"]) == ("my-photos", "good")
    assert main.call(["cache", "ls"]) == 0


def test_the_page_on_data_has_a_row_for_every_public_set() -> None:
    rows = [line.split("|") for line in DATA.read_text().splitlines() if line.startswith("| `")]
    cells = {row[1].strip(" `"): row for row in rows}
    for name, known in public_sets.known_sets().items():
        assert f"`{known.folder}/`" in cells[name][3]
        assert known.images in cells[name][4]
        assert known.split in cells[name][5]
        assert cells[name][6].strip() == known.template
        assert {a.strip(" `") for a in cells[name][2].split(",")} - {""} == {*known.aliases}
    assert all(f"| `{name}`" in DATA.read_text() for name in PROTOCOLS)


@pytest.mark.parametrize("words", commands("ls", "params", pages=PLANNED), ids=" ".join)
def test_the_commands_of_the_readme_that_list_run(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(words) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [w for w in commands("leaderboard", "pareto", "compare") if "--protocol" in w],
    ids=" ".join,
)
def test_the_reports_of_the_readme_have_something_to_report(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = words[words.index("--protocol") + 1]
    fast = ["data=digits", "data.shots=1", "data.val_shots=1", "train.epochs=1", "-q"]
    assert main.call(["suite", protocol, "methods=linear_probe,zero_shot", *fast]) == 0
    assert main.call(words) == 0
    assert "linear_probe" in capsys.readouterr().out


def test_the_three_lines_of_python_run(capsys: pytest.CaptureFixture[str]) -> None:
    source = next(b for b in blocks("python") if "execute(build(" in b)
    fast = source.replace('"seed=1"', '"seed=1", "train.epochs=1", "data.shots=1"')
    assert fast != source
    exec(compile(fast, "README.md", "exec"), {})
    accuracy, count = capsys.readouterr().out.split()
    assert 0 <= float(accuracy) <= 100
    assert int(count) > 0
