"""Reads icon sets from the unpacked npm package ``@iconify/json`` and renders their drawings."""

import io
import json
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.embedded.build.sources import LICENCES
from methods.kit.core.errors import UsageError

FEWEST_INK = 0.01  # share of the pixels that must be drawn on


class IconSet:
    """One icon set: its names, aliases, styles, and drawings as SVG text."""

    def __init__(self, path: Path) -> None:
        self.prefix = path.stem
        self._data: dict[str, Any] = json.loads(path.read_text())

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of drawings, without aliases and hidden ones."""
        return frozenset(n for n, icon in self._data["icons"].items() if not icon.get("hidden"))

    @cached_property
    def drawn(self) -> frozenset[str]:
        """Every name that can be drawn, aliases included."""
        return frozenset(self._data["icons"]) | frozenset(self._data.get("aliases", {}))

    @cached_property
    def suffixes(self) -> frozenset[str]:
        words = self._data.get("suffixes") or {}
        return frozenset(part for word in words for part in word.split("-") if part)

    @cached_property
    def aliases(self) -> dict[str, list[str]]:
        """Other names of each drawing, those that turn or mirror it left out."""
        found: dict[str, list[str]] = {}
        for other, entry in (self._data.get("aliases") or {}).items():
            if not any(entry.get(k) for k in ("rotate", "hFlip", "vFlip", "hidden")):
                found.setdefault(entry["parent"], []).append(other)
        return found

    @cached_property
    def categories(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for category, names in (self._data.get("categories") or {}).items():
            for name in names:
                found.setdefault(name, category)
        return found

    def svg(self, name: str, colour: str = "#000000") -> tuple[str, float, float] | None:
        """(text, width, height) of a drawing; None for one that is turned or missing."""
        sizes: dict[str, Any] = {}
        aliases = self._data.get("aliases", {})
        for _ in range(5):
            if name not in aliases:
                break
            entry = aliases[name]
            if any(entry.get(k) for k in ("rotate", "hFlip", "vFlip")):
                return None
            sizes |= {k: entry[k] for k in ("left", "top", "width", "height") if k in entry}
            name = entry["parent"]
        icon = self._data["icons"].get(name)
        if icon is None:
            return None
        sizes = {**self._data, **icon, **sizes}
        width, height = sizes.get("width", 16), sizes.get("height", 16)
        box = f"{sizes.get('left', 0)} {sizes.get('top', 0)} {width} {height}"
        body = icon["body"].replace("currentColor", colour)
        head = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
            f' width="{width}" height="{height}" viewBox="{box}">'
        )
        return f"{head}{body}</svg>", float(width), float(height)

    def render(self, name: str, size: int) -> np.ndarray | None:
        """A drawing scaled to fit a square: uint8 (size, size, 4); None where it is empty."""
        import resvg_py  # needed to build, not to run

        drawing = self.svg(name)
        if drawing is None:
            return None
        svg, width, height = drawing
        longest = max(width, height)
        w, h = (max(1, round(size * side / longest)) for side in (width, height))
        try:
            png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=w, height=h))
        except ValueError:  # what resvg cannot draw
            return None
        image = Image.open(io.BytesIO(png)).convert("RGBA")
        image.thumbnail((size, size))
        square = Image.new("RGBA", (size, size), (0, 0, 0, 0))
        square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
        pixels = np.asarray(square)
        return pixels if (pixels[..., 3] > 40).mean() >= FEWEST_INK else None


class Iconify:
    """The unpacked package. Raises UsageError for a folder that is not one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            text = (folder / "collections.json").read_text()
            self.version = str(json.loads((folder / "package.json").read_text())["version"])
        except FileNotFoundError as error:
            raise UsageError(
                f"{folder}: no {Path(str(error.filename)).name}; unpack the npm package"
                " @iconify/json there (npm pack @iconify/json, tar xzf)"
            ) from None
        self.collections: dict[str, Any] = json.loads(text)

    def set(self, prefix: str) -> IconSet:
        return _icon_set(self.folder / "json" / f"{prefix}.json")

    def has(self, prefix: str) -> bool:
        return prefix in self.collections

    def allowed(self, prefix: str) -> bool:
        """Whether the licence of a set is one of those that are shipped."""
        return self.collections[prefix]["license"].get("spdx") in LICENCES

    def coloured(self, prefix: str) -> bool:
        return bool(self.collections[prefix].get("palette"))

    def source(self, prefix: str) -> list[str]:
        """Title, author, licence and home of a set, for a notice."""
        entry = self.collections[prefix]
        home = entry["author"].get("url", "").removeprefix("https://").removeprefix("http://")
        title = f"{entry['name']} (`{prefix}`)"
        return [title, entry["author"]["name"], entry["license"]["spdx"], home]


@cache
def _icon_set(path: Path) -> IconSet:
    return IconSet(path)


def on_background(rgba: np.ndarray, colour: Sequence[int] | np.ndarray) -> np.ndarray:
    """RGB pixels of an RGBA drawing on a plain background."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    mixed = rgba[..., :3] * alpha + np.asarray(colour, np.float32) * (1 - alpha)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def ink(rgba: np.ndarray) -> np.ndarray:
    """The ink of a drawing in black: uint8 (h, w), 255 where it is full."""
    return 255 - on_background(rgba, (255, 255, 255)).mean(-1).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def notice(
    heading: str, sentence: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """A Markdown page that names sources, authors and licences."""
    lines = [f"# {heading}", "", sentence, ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
