"""The data sets of multi_task: their joint name and settings."""

import re
from collections.abc import Sequence
from typing import Any

from harness.data import registry
from harness.data.public_sets import canonical_name
from harness.spec.spec import MULTI_TASK, SET_SEPARATOR, DataSpec
from methods.kit.core.errors import UsageError


def joined_name(given: Any) -> str:
    """Return ``digits+flags`` for several data sets: a word with commas or +, or a list.

    A collection stands for its members; names are sorted. Raises UsageError for fewer than two and
    for one that is named twice.
    """
    words = given if isinstance(given, list) else re.split(r"[,+]", str(given))
    known = registry.set_collections()
    stripped = [str(word).strip() for word in words]
    names = [canonical_name(one) for word in stripped for one in known.get(word, (word,)) if one]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice:
        raise UsageError(
            f"data.name: {twice!r} is named twice; {MULTI_TASK} trains on each set once"
        )
    if len(names) < 2:
        raise UsageError(
            f"data.name: {MULTI_TASK} trains on several data sets at once, such as"
            f" data=digits,fashion-mnist; got {', '.join(names) or 'none'}"
        )
    return SET_SEPARATOR.join(sorted(names))


def set_groups(names: Sequence[Any]) -> list[str]:
    """Return the runs that an axis of a suite stands for: one on all sets, or one for each A+B."""
    words = [str(word) for word in names]
    groups = [word for word in words if SET_SEPARATOR in word]
    if not groups:
        return [joined_name(words)]
    for word in words:
        if word not in groups:
            raise UsageError(
                f"data.name: {word!r} stands alone beside {groups[0]!r}; join all with +"
            )
    return [joined_name(word) for word in groups]


def joined_defaults(joined: str) -> dict[str, Any]:
    """Return settings of ``data``: as many shots as every set allows, the same for all."""
    each = [registry.default_settings(own) for own in joined.split(SET_SEPARATOR)]
    usual = {"shots": DataSpec.shots, "val_shots": DataSpec.val_shots}
    settings: dict[str, Any] = {
        key: min(own.get(key, value) for own in each) for key, value in usual.items()
    }
    short = [own["short_classes"] for own in each if "short_classes" in own]
    return settings | ({"short_classes": short[0]} if short else {})


def joined_content(joined: str, root: str = "") -> str:
    """Return the content hashes of own data sets, joined; empty where there is none."""
    each = [registry.content_hash(one, root) for one in joined.split(SET_SEPARATOR)]
    return SET_SEPARATOR.join(each) if any(each) else ""
