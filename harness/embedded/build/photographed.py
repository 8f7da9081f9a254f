"""The tasks that no icon set draws: photos of clothes, handwritten digits."""

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

from harness.embedded.build.rows import Rows
from methods.kit.core.errors import UsageError

FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist


def fashion() -> Rows:
    """Fashion-MNIST, a subset with the same number of pictures of every class."""
    if not FASHION.is_dir():
        raise UsageError(f"{FASHION}: not there; install Debian's package dataset-fashion-mnist")
    labels = """t-shirt trousers pullover dress coat sandal shirt sneaker bag""".split()
    rows = Rows(
        "fashion-mnist",
        [*labels, "ankle boot"],
        "a photo of a {}.",
        "Fashion-MNIST product photos (28x28 grey), a class-balanced subset.",
        shots=16,
        val_shots=4,
    )
    for split, stem, most in (("train", "train", 64), ("test", "t10k", 200)):
        pictures = _idx(FASHION / f"{stem}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
        labelled = _idx(FASHION / f"{stem}-labels-idx1-ubyte.gz", 8)
        for label in range(len(rows.classes)):
            for i in np.flatnonzero(labelled == label)[:most]:
                rows.add(_grey(pictures[i]), label, "fashion-mnist", split)
    return rows


def digits() -> Rows:
    """Handwritten digits, as scikit-learn ships them, enlarged."""
    from sklearn.datasets import load_digits

    found = load_digits()
    labels = "zero one two three four five six seven eight nine".split()
    rows = Rows(
        "digits",
        labels,
        "a picture of the number {}.",
        "Handwritten digits (UCI optical recognition), 8x8 enlarged to 32x32.",
        shots=16,
        val_shots=4,
    )
    for label in range(10):
        for place, i in enumerate(np.flatnonzero(found.target == label)[:132]):
            small = Image.fromarray((found.images[i] / 16 * 255).astype(np.uint8))
            large = small.resize((32, 32), Image.Resampling.BICUBIC)
            rows.add(_grey(np.asarray(large)), label, "digits", "train" if place < 32 else "test")
    return rows


def _idx(path: Path, offset: int) -> np.ndarray:
    return np.frombuffer(gzip.open(path).read(), np.uint8, offset=offset)


def _grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[..., None], 3, -1)
