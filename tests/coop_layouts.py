"""The 15 public data sets drawn small: every folder, file name and quirk of CoOp's layout."""

import io
import json
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from harness.data import public_sets
from harness.data.public_sets import PublicSet

TRAIN, VAL, TEST = 6, 3, 2  # images a class
WNIDS = ("n01440764", "n01443537", "n01484850", "n01491361", "n01494475")
IMAGENET = ("tench", "goldfish", "great white shark", "missile", "missile")  # names do repeat
FOLDERS = {
    "caltech101": ("Faces", "Leopards", "airplanes", "yin_yang"),
    "eurosat": ("AnnualCrop", "Forest", "SeaLake"),
    "ucf101": ("Apply_Eye_Makeup", "Yo_Yo", "Pole_Vault"),
    "dtd": ("banded", "blotchy", "zigzagged"),
    "food101": ("apple_pie", "waffles", "baklava"),
    "sun397": ("a/abbey", "c/church/outdoor", "y/yard"),
}
VARIANTS = ("707-320", "Boeing 717", "A340-200", "Yak-42")
Rows = list[tuple[str, int, str]]


@dataclass
class Maker:
    """Draws sets below a root and counts what it drew."""

    root: Path
    drawn: int = 0

    def image(self, path: Path, label: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.drawn += 1
        rng = np.random.default_rng(self.drawn)
        colour = np.random.default_rng(1000 + label).integers(0, 256, 3)
        pixels = np.clip(colour + rng.integers(-40, 40, (20, 26, 3)), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        path.write_bytes(buffer.getvalue())

    def split(self, known: PublicSet, parts: dict[str, Rows]) -> PublicSet:
        """The split file in the shuffled order of the published ones, and its images."""
        folder = self.root / known.folder
        mixed = {part: random.Random(part).sample(rows, len(rows)) for part, rows in parts.items()}
        for rows in mixed.values():
            for path, label, _ in rows:
                self.image(folder / known.images / path, label)
        (folder / known.split).write_text(json.dumps(mixed))
        return self.counted(known, parts)

    def counted(self, known: PublicSet, parts: dict[str, Rows]) -> PublicSet:
        classes = len({label for rows in parts.values() for _, label, _ in rows})
        base = sum(label < (classes + 1) // 2 for _, label, _ in parts["test"])
        sizes = {part: len(parts.get(part, [])) for part in ("train", "val", "test")}
        return replace(known, classes=classes, base_test=base, **sizes)


def make(root: Path) -> dict[str, PublicSet]:
    """Draw all 15 sets; returns the table of sets with the counts that were drawn."""
    maker, known = Maker(root), public_sets.known_sets()
    found = {name: maker.split(known[name], _folders(name)) for name in FOLDERS}
    found["oxford_pets"] = maker.split(known["oxford_pets"], _pets())
    (root / "oxford_pets" / "annotations").mkdir()
    found["stanford_cars"] = maker.split(known["stanford_cars"], _cars())
    found["oxford_flowers"] = maker.split(known["oxford_flowers"], _flowers())
    _flowers_own_files(root / "oxford_flowers")
    maker.image(root / "caltech-101/101_ObjectCategories/BACKGROUND_Google/image_0001.jpg", 9)
    maker.image(root / "caltech-101/101_ObjectCategories/Faces_easy/image_0001.jpg", 9)
    found["fgvc_aircraft"] = _aircraft(maker, known["fgvc_aircraft"])
    found["imagenet"] = _imagenet(maker, known["imagenet"])
    for name in public_sets.SHIFTED:
        found[name] = _shifted(maker, known[name])
    return {name: found[name] for name in known}


def _parts(classes: int) -> list[tuple[str, int, int]]:
    """(part, label, number) for each image."""
    sizes = {"train": TRAIN, "val": VAL, "test": TEST}
    return [(p, c, i) for p, n in sizes.items() for c in range(classes) for i in range(n)]


def _folders(name: str) -> dict[str, Rows]:
    """A folder a class; the class name is the folder's, as before CoOp's corrections."""
    folders = FOLDERS[name]
    parts: dict[str, Rows] = {"train": [], "val": [], "test": []}
    for part, label, i in _parts(len(folders)):
        folder = folders[label]
        if name == "caltech101" and label == 3 and part == "train" and i > 2:
            continue  # a class with fewer images than shots
        number = {"train": 0, "val": 100, "test": 200}[part] + i
        file = {
            "caltech101": f"image_{number:04d}.jpg",
            "eurosat": f"{folder}_{number}.jpg",
            "ucf101": f"v_{folder.replace('_', '')}_g{number:02d}_c01.jpg",
            "dtd": f"{folder}_{number:04d}.jpg",
            "food101": f"{1_000_000 + number}.jpg",
            "sun397": f"sun_{'abcdefghij'[i]}{part}.jpg",
        }[name]
        words = folder.split("/")[1:] or [folder]
        parts[part].append((f"{folder}/{file}", label, " ".join(reversed(words))))
    return parts


def _pets() -> dict[str, Rows]:
    breeds = ("Abyssinian", "american_bulldog", "Sphynx")
    parts: dict[str, Rows] = {"train": [], "val": [], "test": []}
    for part, label, i in _parts(len(breeds)):
        number = {"train": 0, "val": 100, "test": 200}[part] + i
        parts[part].append((f"{breeds[label]}_{number}.jpg", label, breeds[label].lower()))
    return parts


def _cars() -> dict[str, Rows]:
    names = ("2000 AM General Hummer SUV", "2012 Audi TTS Coupe", "2007 BMW X5 SUV")
    parts: dict[str, Rows] = {"train": [], "val": [], "test": []}
    for n, (part, label, _) in enumerate(_parts(len(names))):
        folder = "cars_test" if part == "test" else "cars_train"
        parts[part].append((f"{folder}/{n + 1:05d}.jpg", label, names[label]))
    return parts


def _flowers() -> dict[str, Rows]:
    names = ("pink primrose", "hard-leaved pocket orchid", "passion flower")
    parts: dict[str, Rows] = {"train": [], "val": [], "test": []}
    for n, (part, label, _) in enumerate(_parts(len(names))):
        parts[part].append((f"image_{n + 1:05d}.jpg", label, names[label]))
    return parts


def _flowers_own_files(folder: Path) -> None:
    """The official labels and names, which lie there and are not needed."""
    savemat(folder / "imagelabels.mat", {"labels": np.array([[77, 77, 73]])})
    (folder / "cat_to_name.json").write_text(json.dumps({"1": "pink primrose"}))


def _aircraft(maker: Maker, known: PublicSet) -> PublicSet:
    folder = maker.root / known.folder
    parts: dict[str, Rows] = {"train": [], "val": [], "test": []}
    for n, (part, label, _) in enumerate(_parts(len(VARIANTS))):
        parts[part].append((f"{n:07d}", label, VARIANTS[label]))
        maker.image(folder / "images" / f"{n:07d}.jpg", label)
    (folder / "variants.txt").write_text("\n".join(VARIANTS) + "\n")
    (folder / "families.txt").write_text("Boeing 707\n")
    for part, rows in parts.items():
        lines = [f"{image} {variant}\n" for image, _, variant in rows]
        (folder / f"images_variant_{part}.txt").write_text("".join(lines))
    return maker.counted(known, parts)


def _imagenet(maker: Maker, known: PublicSet) -> PublicSet:
    folder = maker.root / known.folder
    parts: dict[str, Rows] = {"train": [], "test": []}
    for part, where, count in (("train", "train", TRAIN + VAL), ("test", "val", TEST)):
        for label, wnid in reversed(list(enumerate(WNIDS))):  # the disk's order is no order
            for i in reversed(range(count)):
                file = f"{wnid}_{i}.JPEG" if part == "train" else f"ILSVRC2012_val_{i:08d}.JPEG"
                maker.image(folder / "images" / where / wnid / file, label)
                parts[part].append((file, label, IMAGENET[label]))
    (folder / "images" / "train" / WNIDS[0] / ".DS_Store").write_bytes(b"\0")
    (folder / "images" / "val" / "valprep.sh").write_text("mkdir\n")
    lines = [f"{w} {name}\n" for w, name in zip(WNIDS, IMAGENET, strict=True)]
    (folder / "classnames.txt").write_text("".join(lines))
    return maker.counted(known, parts)


def _shifted(maker: Maker, known: PublicSet) -> PublicSet:
    folder = maker.root / known.folder
    some = {"imagenet_a": (1, 3), "imagenet_r": (0, 2, 4)}.get(known.name, range(len(WNIDS)))
    rows: Rows = []
    for label, place in enumerate(some):
        inner = str(place) if known.listing == "numbered" else WNIDS[place]
        for i in range(TEST):
            maker.image(folder / known.images / inner / f"picture_{i}.jpg", place)
            rows.append((f"{i}", label, IMAGENET[place]))
    if known.name in ("imagenet_a", "imagenet_r"):
        (folder / known.images / "README.txt").write_text("read me\n")
    if known.name != "imagenet_sketch":  # which then takes ImageNet's own
        names = (maker.root / "imagenet" / "classnames.txt").read_text()
        (folder / "classnames.txt").write_text(names)
    return maker.counted(known, {"test": rows})
