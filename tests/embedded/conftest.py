"""A few real icons of real sets, in the layout of the npm package, and a corpus made of them."""

import shutil
from pathlib import Path

import pytest

from harness.embedded.build import corpus
from harness.embedded.build.icons import Iconify

TINY = Path(__file__).parent.parent / "tiny"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package that a test may change."""
    return Path(shutil.copytree(TINY / "iconify", tmp_path / "iconify"))


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    corpus.build_corpus(Iconify(TINY / "iconify"), folder, workers=1)
    return folder
