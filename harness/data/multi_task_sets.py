"""Several data sets that one adapter is trained on at once: their names as one, their settings."""

from collections.abc import Sequence
from typing import Any

from harness.data import registry
from harness.data.public_sets import canonical_name
from harness.spec.spec import MULTI_TASK, SET_SEPARATOR, DataSpec
from methods.kit.core.errors import UsageError


def joined_name(given: Any) -> str:
    """``digits+flags`` for what names several data sets (a word with commas or +, a list).

    A collection stands for its members. The order of naming changes nothing: it is sorted. Raises
    UsageError for fewer than two and for one that is named twice.
    """
    words = (
        given
        if isinstance(given, list)
        else str(given).replace(",", SET_SEPARATOR).split(SET_SEPARATOR)
    )
    words = [str(word).strip() for word in words]
    found = [
        canonical_name(one)
        for word in words
        for one in registry.set_collections().get(word, (word,))
        if one
    ]
    twice = next((one for one in found if found.count(one) > 1), None)
    if twice:
        raise UsageError(
            f"data.name: {twice!r} is named twice; {MULTI_TASK} trains on each set once"
        )
    if len(found) < 2:
        raise UsageError(
            f"data.name: {MULTI_TASK} trains on several data sets at once, such as"
            f" data=digits,fashion-mnist; got {', '.join(found) or 'none'}"
        )
    return SET_SEPARATOR.join(sorted(found))


def set_groups(names: Sequence[Any]) -> list[str]:
    """The runs that the values of a suite's axis mean: all in one, or each with a + for itself."""
    words = [str(word) for word in names]
    together = [word for word in words if SET_SEPARATOR in word]
    if together and len(together) < len(words):
        alone = next(word for word in words if SET_SEPARATOR not in word)
        raise UsageError(f"data.name: {alone!r} stands alone beside {together[0]!r}; join all by +")
    return [joined_name(word) for word in together] if together else [joined_name(words)]


def joined_defaults(joined: str) -> dict[str, Any]:
    """Settings of ``data``: as many shots as every set has, the same for all."""
    each = [registry.default_settings(one) for one in joined.split(SET_SEPARATOR)]
    usual = {"shots": DataSpec.shots, "val_shots": DataSpec.val_shots}
    found: dict[str, Any] = {
        key: min(one.get(key, value) for one in each) for key, value in usual.items()
    }
    short = [one["short_classes"] for one in each if "short_classes" in one]
    return found | ({"short_classes": short[0]} if short else {})


def joined_content(joined: str, root: str = "") -> str:
    """The hashes of the sets that their owners may change; empty where there is none."""
    each = [registry.content_hash(one, root) for one in joined.split(SET_SEPARATOR)]
    return SET_SEPARATOR.join(each) if any(each) else ""
