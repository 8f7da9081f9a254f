"""The classes of the drawn tasks, and the names under which icon sets hold them."""

import tomllib
from functools import cache
from importlib.resources import files


def concepts() -> dict[str, list[str]]:
    """Class name to icon names, for icon-concepts."""
    return _read("icon-concepts")


def emoji() -> dict[str, list[str]]:
    """Class name to emoji names (every one that a vendor has is drawn), for emoji-things."""
    return _read("emoji-things")


def countries() -> dict[str, list[str]]:
    """ISO 3166 code to country, then other names in icon sets, for flags."""
    return _read("flags")


def _read(task: str) -> dict[str, list[str]]:
    return {key: list(value) for key, value in _all()[task].items()}


@cache
def _all() -> dict[str, dict[str, list[str]]]:
    text = (files("harness") / "embedded" / "build" / "classes.toml").read_text()
    found: dict[str, dict[str, list[str]]] = tomllib.loads(text)
    return found
