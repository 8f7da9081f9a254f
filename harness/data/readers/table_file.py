"""Reads a data set from one CSV, TSV or Parquet file: an image and a label a row.

Columns: ``image`` (the bytes of an image file, or the path of one), ``label`` (numbers from 0, or
words), and where there are ``classname``, ``split`` and ``domain``.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from harness.data.dataset import Dataset
from harness.data.readers import holdout, image_files, validation
from harness.data.readers.image_files import Files
from methods.kit.core.errors import UsageError

ALSO = {
    "image": ("path", "file", "filename", "filepath", "image_path", "file_name", "img"),
    "label": ("class", "target", "category"),
    "classname": ("class_name", "label_name"),
}
KNOWN = ("image", "label", "classname", "split", "domain")


def read(path: Path, name: str, template: str) -> Dataset:
    """The table in a file. Raises UsageError, in one line, for what is wrong with it."""
    table = _renamed(path, _load(path))
    for column in ("image", "label"):
        if column not in table.column_names:
            raise UsageError(f"{path}: no column {column!r}; a data set has image and label")
    if table.num_rows == 0:
        raise UsageError(f"{path}: it holds no rows")
    for column in KNOWN[:-1]:
        if column in table.column_names and _gaps(table[column]):
            raise UsageError(f"{path}: column {column!r} has empty cells")
    labels, names = _classes(path, table)
    images = _images(path, table)
    lazy = isinstance(images, Files)
    shas = image_files.image_hashes(images) if lazy or "split" not in table.column_names else []
    if "split" in table.column_names:
        split = validation.check_splits(str(path), table["split"].to_pylist())
    else:
        split = holdout.hold_out(labels, shas, names, str(path))
    parts = (labels.tolist(), split.tolist(), names)
    digest = image_files.content_digest(shas, *parts) if lazy else _digest(images, *parts)
    return Dataset(
        name=name,
        classnames=names,
        template=template,
        labels=labels,
        split=split,
        domains=_domains(table),
        images=images,
        digest=digest,
        paths=tuple(images.paths) if isinstance(images, Files) else (),
        folder=images.base if isinstance(images, Files) else None,
    )


# --- the file --------------------------------------------------------------------------------


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
    delimiter = max(",;\t", key=head.count)
    found = pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(delimiter=delimiter))
    words = found.schema
    for i, column in enumerate(found.schema):
        # Words may look like truth values, dates or nothing at all; only labels may be numbers.
        label = column.name.strip().lower() in ("label", *ALSO["label"])
        number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        if not (label and number):
            words = words.set(i, column.with_type(pa.string()))
    options = pa.csv.ConvertOptions(column_types=words, strings_can_be_null=False)
    return pa.csv.read_csv(
        path, parse_options=pa.csv.ParseOptions(delimiter=delimiter), convert_options=options
    )


def _renamed(path: Path, table: pa.Table) -> pa.Table:
    """Columns under the names used here, whatever they are called in the file."""
    columns = [str(name).strip() for name in table.column_names]
    for name, others in ALSO.items():
        lower = [column.lower() for column in columns]
        places = [i for i, column in enumerate(lower) if column == name]
        places = places or [i for i, column in enumerate(lower) if column in others]
        if len(places) > 1:
            shown = " and ".join(repr(columns[i]) for i in places[:2])
            raise UsageError(f"{path}: columns {shown} could both be the {name}; keep one")
        if places:
            columns[places[0]] = name
    for name in ("split", "domain"):
        columns = [name if column.lower() == name else column for column in columns]
    twice = next((c for c in KNOWN if columns.count(c) > 1), None)
    if twice:
        raise UsageError(f"{path}: two columns are called {twice!r}")
    return table.rename_columns(columns)


# --- its columns -----------------------------------------------------------------------------


def _gaps(column: Any) -> bool:
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return bool(column.null_count) or (text and "" in column.to_pylist())


def _classes(path: Path, table: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels from 0 and the class names."""
    kind = table.schema.field("label").type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    given = table["label"].to_pylist()
    if pa.types.is_integer(kind):
        labels = _numbers(path, given)
        if "classname" not in table.column_names:
            return labels, validation.check_class_names(
                str(path), [str(i) for i in range(max(given) + 1)]
            )
        return labels, _named(path, labels, table["classname"].to_pylist())
    if not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
        raise UsageError(f"{path}: column 'label' must hold whole numbers or words, not {kind}")
    words = [str(word).strip() for word in given]
    names = sorted(set(words))
    place = {word: i for i, word in enumerate(names)}
    labels = np.array([place[word] for word in words], dtype=np.int64)
    if "classname" in table.column_names:
        return labels, _named(path, labels, table["classname"].to_pylist())
    return labels, validation.check_class_names(str(path), names)


def _numbers(path: Path, given: list[int]) -> np.ndarray:
    labels = np.asarray(given, dtype=np.int64)
    present = np.unique(labels)
    if present[0] != 0 or present[-1] != len(present) - 1:
        gap = next(i for i, p in enumerate([*present, -1]) if i != p)
        raise UsageError(f"{path}: labels must count from 0 without gaps; {gap} is missing")
    return labels


def _named(path: Path, labels: np.ndarray, names: list[str]) -> tuple[str, ...]:
    found: dict[int, str] = {}
    for label, name in zip(labels.tolist(), names, strict=True):
        if found.setdefault(label, name) != name:
            raise UsageError(f"{path}: label {label} is called both {found[label]!r} and {name!r}")
    return validation.check_class_names(str(path), [found[i] for i in range(len(found))])


def _domains(table: Any) -> np.ndarray:
    if "domain" not in table.column_names:
        return np.full(table.num_rows, "")
    return np.array([str(d or "") for d in table["domain"].to_pylist()])


def _images(path: Path, table: Any) -> Sequence[bytes]:
    kind = table.schema.field("image").type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _paths(path, table["image"].to_pylist())
    if (
        pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    ):  # Hugging Face's image type: {bytes, path}
        cells = [cell["bytes"] for cell in table["image"].to_pylist()]
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        cells = table["image"].to_pylist()
    else:
        raise UsageError(
            f"{path}: column 'image' must hold the bytes of image files, or paths, not {kind}"
        )
    if any(cell is None for cell in cells):
        raise UsageError(f"{path}: column 'image' has empty cells")
    return cells


def _paths(source: Path, cells: list[str]) -> Files:
    """Files beside the table, or anywhere by absolute path; all must be there."""
    for row, cell in enumerate(cells):
        if "://" in cell:
            raise UsageError(f"{source}: row {row}: {cell} is a URL; download the images first")
        if "\0" in cell:
            raise UsageError(f"{source}: row {row}: the path {cell!r} has a null character")
    base, paths = source.parent, [str(Path(cell.strip()).expanduser()) for cell in cells]
    lost = [row for row, path in enumerate(paths) if not (base / path).is_file()]
    if lost:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        kind = "a folder" if (base / paths[lost[0]]).is_dir() else "no such file"
        raise UsageError(f"{source}: row {lost[0]}: {cells[lost[0]]}: {kind}{more}")
    return Files(base, paths)


def _digest(
    images: Sequence[bytes], labels: list[int], split: list[str], names: tuple[str, ...]
) -> str:
    """A hash of the content, whatever the file's compression or row groups."""
    sha = hashlib.sha256("\0".join(names).encode())
    for image, label, part in zip(images, labels, split, strict=True):
        sha.update(f"{label}|{part}|{len(image)}|".encode())
        sha.update(image)
    return sha.hexdigest()[:16]
