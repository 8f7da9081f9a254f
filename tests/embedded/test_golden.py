"""The shipped backbone and tasks give the numbers they are known by.

After a wanted change: ``python -m harness.embedded.build golden > tests/embedded/golden.json``, and
the card and README with it.
"""

import json
from pathlib import Path

import pytest

from harness.embedded.build.evaluate import golden

KNOWN = json.loads((Path(__file__).parent / "golden.json").read_text())


@pytest.fixture(scope="module")
def found() -> dict[str, object]:
    return golden()


@pytest.mark.parametrize("what", ["backbone", "data", "run"])
def test_backbone_and_data_are_those_of_the_card(what: str, found: dict[str, object]) -> None:
    assert found[what] == KNOWN[what]


def test_zero_shot_accuracy_is_what_it_was(found: dict[str, object]) -> None:
    # Sums round differently from CPU to CPU: a picture in a thousand may change sides.
    assert found["zero_shot"] == pytest.approx(KNOWN["zero_shot"], abs=0.35)


def test_a_trained_run_is_what_it_was(found: dict[str, object]) -> None:
    assert found["losses"] == pytest.approx(KNOWN["losses"], rel=0.02, abs=0.01)
    assert found["accuracy"] == pytest.approx(KNOWN["accuracy"], abs=1.0)
