"""What a run answered, image by image, and what can be read off it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SHOWN = 8  # images of a run that it was most wrong about
SCHEMA = pa.schema(
    [
        ("part", pa.dictionary(pa.int32(), pa.string())),
        ("image", pa.int64()),
        ("label", pa.dictionary(pa.int32(), pa.string())),
        ("predicted", pa.dictionary(pa.int32(), pa.string())),
        ("p_label", pa.float32()),
        ("p_predicted", pa.float32()),
    ]
)


@dataclass(frozen=True)
class WrongAnswer:
    """An image that was told wrong, and how sure the model was of either name."""

    part: str
    image: int
    label: str
    predicted: str
    p_label: float
    p_predicted: float


@dataclass(frozen=True)
class TestPart:
    """The answers on one test part. ``confusion`` counts (label, predicted) of ``names``."""

    name: str
    names: tuple[str, ...]
    confusion: np.ndarray

    @property
    def images(self) -> int:
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Per cent."""
        return 100 * float(np.trace(self.confusion)) / self.images

    @property
    def by_class(self) -> dict[str, float]:
        """Per cent of the images of each class that has some."""
        counts = self.confusion.sum(1)
        right = np.diag(self.confusion)
        return {n: 100 * float(right[i] / counts[i]) for i, n in enumerate(self.names) if counts[i]}


@dataclass(frozen=True)
class Answers:
    """``table`` has a row an image, as in predictions.parquet, with probabilities only of the
    images that were most wrong: that is all that a site carries along."""

    table: pa.Table
    wrong: tuple[WrongAnswer, ...]

    def parts(self) -> list[TestPart]:
        """Test parts in the order of their names; class names in alphabetical order."""
        part, label, predicted = (_NameCodes(self.table, n) for n in ("part", "label", "predicted"))
        found = []
        for name in sorted(part.names):
            mine = part.codes == part.names.index(name)
            seen = {label.names[i] for i in np.unique(label.codes[mine])}
            seen |= {predicted.names[i] for i in np.unique(predicted.codes[mine])}
            names = tuple(sorted(seen))
            rows = label.within(names)[mine] * len(names) + predicted.within(names)[mine]
            counts = np.bincount(rows, minlength=len(names) ** 2)
            found.append(TestPart(name, names, counts.reshape(len(names), len(names))))
        return found


class _NameCodes:
    """A column of names as numbers."""

    def __init__(self, table: pa.Table, column: str) -> None:
        found = table[column].combine_chunks()
        if isinstance(found, pa.ChunkedArray):
            found = found.chunk(0)
        self.codes = found.indices.to_numpy()
        self.names: list[str] = found.dictionary.to_pylist()

    def within(self, names: Sequence[str]) -> np.ndarray:
        """The numbers as places in another list of names."""
        place = {name: i for i, name in enumerate(names)}
        return np.array([place.get(name, 0) for name in self.names], dtype=np.int64)[self.codes]


def read_answers(file: bytes) -> Answers:
    """The answers of a run's predictions.parquet, or of what a site keeps of it."""
    return condense(pq.read_table(io.BytesIO(file), columns=SCHEMA.names))


def condense(table: pa.Table) -> Answers:
    """Of all images label and answer, of the most wrong ones their probabilities as well."""
    p = table["p_predicted"].to_numpy(zero_copy_only=False).astype(float)  # null becomes NaN
    unequal = pc.not_equal(table["label"].cast(pa.string()), table["predicted"].cast(pa.string()))
    wrong = np.flatnonzero(unequal.to_numpy(zero_copy_only=False) & ~np.isnan(p))
    images = table["image"].to_numpy()
    order = np.lexsort((images[wrong], -p[wrong]))[:SHOWN]
    kept = wrong[order]
    keep = np.zeros(len(table), dtype=bool)
    keep[kept] = True
    columns = {name: table[name] for name in ("part", "image", "label", "predicted")}
    for name in ("p_label", "p_predicted"):
        values = table[name].to_numpy(zero_copy_only=False).astype(np.float32)
        columns[name] = pa.array(values, pa.float32(), mask=~keep)
    plain = pa.table(columns).cast(SCHEMA)
    return Answers(plain, tuple(_wrong(plain, int(row)) for row in kept))


def _wrong(table: pa.Table, row: int) -> WrongAnswer:
    one = {name: table[name][row].as_py() for name in SCHEMA.names}
    return WrongAnswer(**one)


def to_parquet(table: pa.Table) -> bytes:
    """A table of answers as Parquet."""
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def binned_losses(losses: Sequence[float], most: int = 96) -> list[tuple[int, float]]:
    """A loss curve in at most so many points: (last step, mean) of equal stretches."""
    values = np.asarray(losses, dtype=float)
    edges = np.unique(np.linspace(0, len(values), min(most, len(values)) + 1).astype(int))
    return [(int(b), float(f"{values[a:b].mean():.6g}")) for a, b in pairwise(edges)]
