"""The pictures of a task while it is made, and the file they become."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.embedded.build.icons import png


@dataclass
class Rows:
    """A task as it is drawn: pictures without doubles, each with its class, vendor and split."""

    name: str
    classes: list[str]
    template: str
    note: str
    shots: int
    val_shots: int
    rows: list[tuple[bytes, int, str, str]] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)

    def add(self, pixels: np.ndarray | None, label: int, domain: str, split: str) -> bool:
        """Add a picture; False when there is none or it is there already."""
        if pixels is None:
            return False
        look = hashlib.sha256(pixels.tobytes()).digest()
        if look in self._seen:
            return False
        self._seen.add(look)
        self.rows.append((png(pixels), label, domain, split))
        return True

    def counts(self, split: str) -> list[int]:
        """Pictures of each class."""
        found = Counter(label for _, label, _, part in self.rows if part == split)
        return [found[i] for i in range(len(self.classes))]

    def drop_small(self, fewest: int) -> None:
        """Drop the classes with fewer pictures in either split."""
        pairs = enumerate(zip(self.counts("train"), self.counts("test"), strict=True))
        kept = [label for label, both in pairs if min(both) >= fewest]
        place = {label: i for i, label in enumerate(kept)}
        self.classes = [self.classes[label] for label in kept]
        self.rows = [(p, place[i], d, s) for p, i, d, s in self.rows if i in place]

    def domains(self, split: str) -> list[str]:
        return sorted({domain for _, _, domain, part in self.rows if part == split})

    def about(self) -> dict[str, Any]:
        """What tasks.json says of the task."""
        train, test = self.counts("train"), self.counts("test")
        return {
            "file": f"{self.name}.parquet",
            "note": self.note,
            "template": self.template,
            "shots": self.shots,
            "val_shots": self.val_shots,
            "classes": len(self.classes),
            "train": sum(train),
            "test": sum(test),
            "train_per_class": [min(train), max(train)],
            "test_per_class": [min(test), max(test)],
            "domains": {split: self.domains(split) for split in ("train", "test")},
            "classnames": self.classes,
        }

    def write(self, folder: Path) -> None:
        pictures, labels, domains, splits = zip(*self.rows, strict=True)
        table = pa.table(
            {
                "image": pa.array(pictures, pa.binary()),
                "label": pa.array(labels, pa.int32()),
                "classname": pa.array([self.classes[label] for label in labels]),
                "domain": pa.array(domains),
                "split": pa.array(splits),
            }
        )
        path = folder / f"{self.name}.parquet"
        pq.write_table(table, path, compression="zstd", compression_level=12)
