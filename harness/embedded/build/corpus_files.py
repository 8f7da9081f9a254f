"""Files of the pretraining corpus: packed drawings with captions as Parquet, and a notice."""

import io
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from harness.embedded.build.icons import Iconify, notice
from harness.embedded.build.sources import PACKAGE

SIZE = 48


class Pair(NamedTuple):
    """A drawing to be rendered, with its caption and other captions (``|`` between)."""

    prefix: str
    name: str
    caption: str
    alt: str
    category: str
    coloured: bool


class Drawn(NamedTuple):
    """A rendered pair: RGBA for a coloured drawing, else its ink; and its coarse look."""

    pair: Pair
    pixels: np.ndarray
    look: bytes | None
    coloured: bool


# --- files -----------------------------------------------------------------------------------


def write_mono(drawn: list[Drawn], path: Path) -> None:
    packed = []
    for d in drawn:
        levels = ((d.pixels.astype(np.uint16) * 15 + 127) // 255).astype(np.uint8).ravel()
        packed.append(((levels[0::2] << 4) | levels[1::2]).tobytes())
    _write(drawn, "mask", packed, pa.binary(SIZE * SIZE // 2), path)


def write_colour(drawn: list[Drawn], path: Path) -> None:
    packed = []
    for d in drawn:
        rgba = d.pixels.copy()
        rgba[rgba[..., 3] < 8] = 0
        buffer = io.BytesIO()
        Image.fromarray(rgba).save(buffer, "WEBP", lossless=True, quality=80, method=4)
        packed.append(buffer.getvalue())
    _write(drawn, "image", packed, pa.binary(), path)


def _write(
    drawn: list[Drawn], column: str, packed: list[bytes], kind: pa.DataType, path: Path
) -> None:
    fields = ("prefix", "name", "caption", "alt", "category")
    table = pa.table(
        {column: pa.array(packed, kind)}
        | {f: pa.array([getattr(d.pair, f) for d in drawn], pa.string()) for f in fields}
    )
    order = pc.sort_indices(table, sort_keys=[("prefix", "ascending"), ("name", "ascending")])
    pq.write_table(
        table.take(order),
        path,
        compression="zstd",
        compression_level=19,
        row_group_size=40_000,
        data_page_size=8 << 20,
        use_dictionary=["prefix", "category", "caption"],
    )


def notice_of(icons: Iconify, drawn: list[Drawn]) -> str:
    counts = Counter(d.pair.prefix for d in drawn)
    sentence = (
        f"{sum(counts.values())} drawings from {len(counts)} icon sets, rendered to"
        f" {SIZE} x {SIZE} pixels from `{PACKAGE}` {icons.version} (npm)."
    )
    rows = []
    for prefix, n in counts.most_common():
        title, *rest = icons.source(prefix)
        rows.append([title, str(n), *rest])
    columns = ["set", "drawings", "author", "licence", "home"]
    return notice("Sources and licences of the corpus", sentence, columns, rows)
