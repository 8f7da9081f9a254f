"""What is kept stays within its budget, and the oldest goes first."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.model.run_options import parse_budget
from harness.model.tensor_cache import TensorCache, format_bytes
from methods.kit.core.errors import UsageError
from tests.conftest import options


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 50)), max_size=40), st.integers(0, 60))
def test_it_holds_the_latest_that_fit(asked: list[tuple[int, int]], numbers: int) -> None:
    store = TensorCache()
    made: list[tuple[int, int]] = []
    held: list[tuple[int, int]] = []  # latest last
    with options(cache=f"{4 * numbers / 1000:.3f}KB"):
        for key in asked:
            was = len(made)
            value = store.get(key, lambda k=key: made.append(k) or torch.zeros(k[1]))  # type: ignore[misc]
            assert len(value) == key[1]
            assert (len(made) == was) == (key in held)
            held = [k for k in held if k != key] + [key]
            while held and sum(k[1] for k in held) > numbers:
                held.pop(0)
            assert all((store.find(k) is not None) == (k in held) for k in asked)


def test_the_words_of_a_budget() -> None:
    assert parse_budget("auto") is None
    assert parse_budget("off") == 0
    assert parse_budget("500MB") == 500_000_000
    assert parse_budget("2.5gb") == 2_500_000_000
    for word in ("", "MB", "-1GB", "1e3MB", "12", "nan", "1.2.3GB", "all"):
        with pytest.raises(UsageError, match="expected auto, off, or a size such as 500MB"):
            parse_budget(word)


def test_off_keeps_nothing_and_lets_go_of_what_was_kept() -> None:
    store = TensorCache()
    store.get("a", lambda: torch.zeros(3))
    with options(cache="off"):
        assert store.find("a") is None
        store.get("b", lambda: torch.zeros(3))
        assert store.find("b") is None


def test_sizes_are_said_in_words() -> None:
    assert [format_bytes(n) for n in (12, 1234, 1_234_567, 5e9)] == [
        "12 bytes", "1.23 KB", "1.23 MB", "5 GB",
    ]  # fmt: skip
