"""A run's answers to test images: confusion, accuracy by class, the worst errors."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SHOWN = 8  # errors of a run that are shown, the most confident ones
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
    """A misclassified image with the probability of its label and of the answer."""

    part: str
    image: int
    label: str
    predicted: str
    p_label: float
    p_predicted: float


@dataclass(frozen=True)
class TestPart:
    """The answers on one test part; ``confusion`` counts (label, predicted) of ``names``."""

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
        """Per cent, for each class that has images."""
        counts = self.confusion.sum(1)
        right = np.diag(self.confusion)
        return {n: 100 * float(right[i] / counts[i]) for i, n in enumerate(self.names) if counts[i]}


@dataclass(frozen=True)
class Answers:
    """The answers of a run.

    ``table`` has a row per image as in predictions.parquet, but probabilities only of the most
    confident errors: that is all that a site stores.
    """

    table: pa.Table
    wrong: tuple[WrongAnswer, ...]

    def parts(self) -> list[TestPart]:
        """Return the test parts by name; class names in alphabetical order."""
        part, label, predicted = (_NameCodes(self.table, n) for n in ("part", "label", "predicted"))
        parts = []
        for name in sorted(part.names):
            mine = part.codes == part.names.index(name)
            used = {column.names[i] for column in (label, predicted)
                    for i in np.unique(column.codes[mine])}  # fmt: skip
            names = tuple(sorted(used))
            rows = label.within(names)[mine] * len(names) + predicted.within(names)[mine]
            counts = np.bincount(rows, minlength=len(names) ** 2)
            parts.append(TestPart(name, names, counts.reshape(len(names), len(names))))
        return parts


class _NameCodes:
    """A dictionary-encoded column of names."""

    def __init__(self, table: pa.Table, column: str) -> None:
        array = table[column].combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0)
        self.codes = array.indices.to_numpy()
        self.names: list[str] = array.dictionary.to_pylist()

    def within(self, names: Sequence[str]) -> np.ndarray:
        """Return the codes as positions in another list of names."""
        place = {name: i for i, name in enumerate(names)}
        return np.array([place.get(name, 0) for name in self.names], dtype=np.int64)[self.codes]


def read_answers(file: bytes) -> Answers:
    """Read the answers from a run's predictions.parquet, or from a site's condensed copy."""
    return condense(pq.read_table(io.BytesIO(file), columns=SCHEMA.names))


def condense(table: pa.Table) -> Answers:
    """Keep label and answer of all images, and probabilities of the most confident errors."""
    p = table["p_predicted"].to_numpy(zero_copy_only=False).astype(float)  # null becomes NaN
    unequal = pc.not_equal(table["label"].cast(pa.string()), table["predicted"].cast(pa.string()))
    wrong = np.flatnonzero(unequal.to_numpy(zero_copy_only=False) & ~np.isnan(p))
    images = table["image"].to_numpy()
    order = np.lexsort((images[wrong], -p[wrong]))[:SHOWN]
    worst = wrong[order]
    keep = np.zeros(len(table), dtype=bool)
    keep[worst] = True
    columns = {name: table[name] for name in ("part", "image", "label", "predicted")}
    for name in ("p_label", "p_predicted"):
        values = table[name].to_numpy(zero_copy_only=False).astype(np.float32)
        columns[name] = pa.array(values, pa.float32(), mask=~keep)
    plain = pa.table(columns).cast(SCHEMA)
    return Answers(plain, tuple(_wrong_answer(plain, int(row)) for row in worst))


def _wrong_answer(table: pa.Table, row: int) -> WrongAnswer:
    return WrongAnswer(**{name: table[name][row].as_py() for name in SCHEMA.names})


def to_parquet(table: pa.Table) -> bytes:
    """Return a table of answers as a Parquet file."""
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def binned_losses(losses: Sequence[float], most: int = 96) -> list[tuple[int, float]]:
    """Return a loss curve in at most ``most`` points: (last step, mean) of equal intervals."""
    values = np.asarray(losses, dtype=float)
    edges = np.unique(np.linspace(0, len(values), min(most, len(values)) + 1).astype(int))
    return [(int(b), float(f"{values[a:b].mean():.6g}")) for a, b in pairwise(edges)]
