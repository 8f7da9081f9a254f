"""The systems around AdaRing, as `ringbench ls methods` tells of them."""

import subprocess
import sys

import pytest

from harness.cli import listing

# trainable on ViT-B/16, identity at the start, folds, year, written from
KNOWN = {
    "adapterbias": (76_824, "yes", "yes", "2022", "code"),
    "arc": (161_120, "no", "yes", "2023", "code"),
    "mosa": (2_013_696, "yes", "no", "2023", "code"),
    "adamix": (1_245_696, "no", "no", "2022", "code"),
    "coto": (184_320, "yes", "yes", "2025", "paper"),
    "adaptable_adapters": (1_294_560, "no", "no", "2022", "code"),
    "sfa": (384_194, "yes", "no", "2023", "reading"),
    "mera": (1_982_976, "no", "no", "2023", "reading"),
    "vtagml": (6_029_148, "no", "no", "2023", "reading"),
}
COLUMNS = ("trainable (ViT-B/16)", "identity at start", "folds", "year", "fidelity")


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, object]]:
    columns, found = listing.read_listing("methods")
    return {row[0]: dict(zip(columns, row, strict=True)) for row in found}


@pytest.mark.parametrize("name", KNOWN)
def test_what_the_list_says(name: str, rows: dict[str, dict[str, object]]) -> None:
    assert tuple(rows[name][column] for column in COLUMNS) == KNOWN[name]


def test_every_method_says_when_it_was_published_and_what_it_was_written_from(
    rows: dict[str, dict[str, object]],
) -> None:
    for row in rows.values():
        assert len(str(row["year"])) == 4
        assert row["fidelity"] in ("code", "paper", "reading")


def test_names_and_an_unknown_name_need_no_torch() -> None:
    code = (
        "import sys, methods\n"
        "from methods.kit import UsageError\n"
        "assert 'adaring' in methods.names()\n"
        "try: methods.find('adarign')\n"
        "except UsageError as error: assert \"did you mean 'adaring'?\" in str(error)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
