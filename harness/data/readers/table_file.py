"""Reads a data set from a CSV, TSV or Parquet file with one row per image.

Columns: ``image`` (the bytes of an image file, or its path), ``label`` (numbers from 0, or words),
and optionally ``classname`` and ``split``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from harness.data.dataset import GENERIC_TEMPLATE, Dataset
from harness.data.readers.image_files import ImageFiles
from harness.data.readers.own_data import build_dataset
from harness.data.readers.validation import names_by_label, number_classes
from methods.kit.core.errors import UsageError

OTHER_NAMES = {
    "image": ("path", "file", "filename", "filepath", "image_path", "file_name", "img"),
    "label": ("class", "target", "category"),
    "classname": ("class_name", "label_name"),
}
COLUMNS = ("image", "label", "classname", "split")


def read(path: Path, name: str, template: str = GENERIC_TEMPLATE) -> Dataset:
    """Read a table. Raises UsageError, in one line, for what is wrong with it."""
    table = _rename_columns(path, _load(path))
    for column in ("image", "label"):
        if column not in table.column_names:
            raise UsageError(f"{path}: no column {column!r}; a data set has image and label")
    if table.num_rows == 0:
        raise UsageError(f"{path}: it holds no rows")
    for column in COLUMNS:
        if column in table.column_names and _has_gaps(table[column]):
            raise UsageError(f"{path}: column {column!r} has empty cells")
    labels, names = _classes(path, table)
    images = _images(path, table)
    files = images if isinstance(images, ImageFiles) else None
    return build_dataset(
        source=str(path),
        name=name,
        images=images,
        labels=labels,
        names=names,
        split_words=table["split"].to_pylist() if "split" in table.column_names else None,
        template=template,
        paths=files.paths if files else (),
        folder=files.base if files else None,
    )


def _load(path: Path) -> pa.Table:
    if not path.exists():
        raise UsageError(f"{path}: no such file; give a data set's name, a folder or a table")
    kind = "Parquet" if path.suffix == ".parquet" else path.suffix[1:].upper()
    try:
        return pq.read_table(path) if kind == "Parquet" else _csv(path)
    except PermissionError:
        raise UsageError(f"{path}: no permission to read it") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(f"{path}: not a readable {kind} file ({reason})") from None


def _csv(path: Path) -> pa.Table:
    with path.open("rb") as file:
        head = file.readline(1 << 16).decode("utf-8-sig")
    options = pa.csv.ParseOptions(delimiter=max(",;\t", key=head.count))
    schema = pa.csv.read_csv(path, parse_options=options).schema
    for i, column in enumerate(schema):
        # Words may look like truth values, dates or missing ones; only labels may be numbers.
        label = column.name.strip().lower() in ("label", *OTHER_NAMES["label"])
        number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        if not (label and number):
            schema = schema.set(i, column.with_type(pa.string()))
    convert = pa.csv.ConvertOptions(column_types=schema, strings_can_be_null=False)
    return pa.csv.read_csv(path, parse_options=options, convert_options=convert)


def _rename_columns(path: Path, table: pa.Table) -> pa.Table:
    """Give columns the names used here, whatever they are called in the file."""
    columns = [str(name).strip() for name in table.column_names]
    for name, others in OTHER_NAMES.items():
        lower = [column.lower() for column in columns]
        places = [i for i, column in enumerate(lower) if column == name]
        places = places or [i for i, column in enumerate(lower) if column in others]
        if len(places) > 1:
            shown = " and ".join(repr(columns[i]) for i in places[:2])
            raise UsageError(f"{path}: columns {shown} could both be the {name}; keep one")
        if places:
            columns[places[0]] = name
    columns = ["split" if column.lower() == "split" else column for column in columns]
    twice = next((c for c in COLUMNS if columns.count(c) > 1), None)
    if twice:
        raise UsageError(f"{path}: two columns are called {twice!r}")
    return table.rename_columns(columns)


def _has_gaps(column: Any) -> bool:
    return bool(column.null_count) or (_is_text(column.type) and "" in column.to_pylist())


def _is_text(kind: Any) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _classes(path: Path, table: Any) -> tuple[np.ndarray, list[str]]:
    """Return labels from 0 and the class names."""
    kind = table.schema.field("label").type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    given = table["label"].to_pylist()
    if pa.types.is_integer(kind):
        labels = np.asarray(given, dtype=np.int64)
        names = [str(label) for label in given]
    elif _is_text(kind):
        labels, _ = number_classes([str(word).strip() for word in given])
        names = [str(word).strip() for word in given]
    else:
        raise UsageError(f"{path}: column 'label' must hold whole numbers or words, not {kind}")
    if "classname" in table.column_names:
        names = table["classname"].to_pylist()
    return labels, names_by_label(str(path), labels.tolist(), names)


def _images(path: Path, table: Any) -> Sequence[bytes]:
    kind, cells = table.schema.field("image").type, table["image"].to_pylist()
    if _is_text(kind):
        return _files(path, cells)
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        cells = [cell["bytes"] for cell in cells]  # Hugging Face's image type: {bytes, path}
    elif not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise UsageError(
            f"{path}: column 'image' must hold the bytes of image files, or paths, not {kind}"
        )
    if any(cell is None for cell in cells):
        raise UsageError(f"{path}: column 'image' has empty cells")
    return cells


def _files(source: Path, cells: list[str]) -> ImageFiles:
    """Return files beside the table, or anywhere by absolute path. Raises UsageError."""
    for row, cell in enumerate(cells):
        if "://" in cell:
            raise UsageError(
                f"{source}: row {row}: {_shown(cell)} is a URL; download the images first"
            )
        if "\0" in cell:
            raise UsageError(f"{source}: row {row}: the path {cell!r} has a null character")
    base, paths = source.parent, [str(Path(cell.strip()).expanduser()) for cell in cells]
    missing = [row for row, path in enumerate(paths) if not (base / path).is_file()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        kind = "a folder" if (base / paths[missing[0]]).is_dir() else "no such file"
        raise UsageError(f"{source}: row {missing[0]}: {_shown(cells[missing[0]])}: {kind}{more}")
    return ImageFiles(base, paths)


def _shown(cell: str) -> str:
    """Return a cell as it can stand in one line."""
    return cell if cell.isprintable() else repr(cell)
