"""Several data sets that one adapter is trained on at once: their names as one, their settings."""

from collections.abc import Sequence
from typing import Any

from harness.data import registry
from harness.spec.spec import MULTI, PLUS, DataSpec
from methods.kit.core.errors import UsageError


def name(given: Any) -> str:
    """``digits+flags`` for what names several data sets (a word with commas or +, a list).

    A collection stands for its members. The order of naming changes nothing: it is sorted. Raises
    UsageError for fewer than two and for one that is named twice.
    """
    words = given if isinstance(given, list) else str(given).replace(",", PLUS).split(PLUS)
    words = [str(word).strip() for word in words]
    found = [
        registry.canonical(one)
        for word in words
        for one in registry.collections().get(word, (word,))
        if one
    ]
    twice = next((one for one in found if found.count(one) > 1), None)
    if twice:
        raise UsageError(f"data.name: {twice!r} is named twice; {MULTI} trains on each set once")
    if len(found) < 2:
        raise UsageError(
            f"data.name: {MULTI} trains on several data sets at once, such as"
            f" data=digits,fashion-mnist; got {', '.join(found) or 'none'}"
        )
    return PLUS.join(sorted(found))


def groups(names: Sequence[Any]) -> list[str]:
    """The runs that the values of a suite's axis mean: all in one, or each with a + for itself."""
    words = [str(word) for word in names]
    together = [word for word in words if PLUS in word]
    if together and len(together) < len(words):
        alone = next(word for word in words if PLUS not in word)
        raise UsageError(f"data.name: {alone!r} stands alone beside {together[0]!r}; join all by +")
    return [name(word) for word in together] if together else [name(words)]


def defaults_of(joined: str) -> dict[str, Any]:
    """Settings of ``data``: as many shots as every set has, the same for all."""
    each = [registry.defaults_of(one) for one in joined.split(PLUS)]
    usual = {"shots": DataSpec.shots, "val_shots": DataSpec.val_shots}
    found: dict[str, Any] = {
        key: min(one.get(key, value) for one in each) for key, value in usual.items()
    }
    short = [one["short_classes"] for one in each if "short_classes" in one]
    return found | ({"short_classes": short[0]} if short else {})


def content_of(joined: str, root: str = "") -> str:
    """The hashes of the sets that their owners may change; empty where there is none."""
    each = [registry.content_of(one, root) for one in joined.split(PLUS)]
    return PLUS.join(each) if any(each) else ""
