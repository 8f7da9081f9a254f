"""A `Spec`: everything that changes the numbers of a run, and nothing else."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt, Le

import methods
from methods.kit.core.field_types import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    from methods.kit import Method

Protocol = Literal[
    "base_to_novel", "cross_dataset", "domain_generalization", "few_shot", "full", "multi_task"
]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

MULTI_TASK: Protocol = "multi_task"
SET_SEPARATOR = "+"  # between the data sets of a multi_task run: digits+fashion-mnist

NOT_IDENTITY = {"identity": False}  # metadata of fields that change no number


@dataclass(frozen=True)
class BackboneSpec:
    """The frozen model. ``name``: ``embedded``, an open_clip model or a JSON config file of one."""

    name: str = "embedded"
    pretrained: str = ""  # an open_clip tag, a safetensors file, or 'random'
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16 is autocast; auto is filled in


@dataclass(frozen=True)
class DataSpec:
    """The data and how it is used.

    ``name``: a known data set, a folder of class folders, a CSV or Parquet file with columns image
    and label, ``hf:NAME`` or ``torchvision:NAME``; for multi_task several, joined by +.
    """

    name: str = "icon-concepts"
    shots: Annotated[int, Ge(0)] = 16  # 0 is all; protocol full only
    val_shots: Annotated[int, Ge(0)] = 4  # validation images per class, at most `shots`
    subset: Literal["coop", "clip_lora"] = "coop"  # the rule by which shots are drawn
    short_classes: Literal["refuse", "take"] = "refuse"  # classes with fewer images than shots
    template: str = "default"  # the data set's own, a known set of texts, a file, a text with {}
    classnames: str = ""  # a file of class names in place of the data set's own
    content: str = ""  # content hash of own data, filled in; changed data is another run
    skip_corrupt: bool = False  # leave out and record images that cannot be read
    generalized: bool = False  # base_to_novel: also test both halves among all names
    targets: tuple[str, ...] = ()  # data sets that are only tested (cross_dataset and similar)
    root: str = field(default="", compare=False, metadata=NOT_IDENTITY)  # of public sets
    views: Annotated[int, Ge(0)] = 0  # fixed augmentation views per image; 0: new each epoch


@dataclass(frozen=True)
class TrainSpec:
    """How a run is trained. The default learning rate is for AdamW at the default batch size."""

    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.01
    momentum: Fraction = 0.9  # sgd
    epochs: Annotated[int, Ge(0)] = 20
    batch_size: PositiveInt = 32
    warmup: Fraction = 0.1  # share of the steps, linear; then cosine
    final_lr: Fraction = 0.0  # share of lr at the end of the cosine
    clip_grad: NonNegativeFloat = 0.0  # largest gradient norm; 0 is off
    augment: Literal["none", "crop_flip"] = "crop_flip"
    crop_scale: Annotated[float, Gt(0), Le(1)] = 0.08  # smallest share of the area a crop keeps
    crop_ratio: Annotated[float, Ge(1)] = 4 / 3  # longest side of a crop in its other side
    flip: Fraction = 0.5  # of the images are mirrored


@dataclass(frozen=True)
class Spec:
    """One run."""

    protocol: Protocol
    method: "Method"
    backbone: BackboneSpec = BackboneSpec()
    data: DataSpec = DataSpec()
    train: TrainSpec = TrainSpec()
    seed: Annotated[int, Ge(0)] = 1

    @property
    def method_name(self) -> str:
        return methods.name_of(self.method)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The data sets that are trained together; () for a single one."""
        return tuple(self.data.name.split(SET_SEPARATOR)) if self.protocol == MULTI_TASK else ()

    def task_specs(self) -> tuple["Spec", ...]:
        """Return the few-shot run of each data set that is trained together."""
        contents = (
            self.data.content.split(SET_SEPARATOR) if self.data.content else [""] * len(self.tasks)
        )
        return tuple(
            replace(self, protocol="few_shot", data=replace(self.data, name=name, content=content))
            for name, content in zip(self.tasks, contents, strict=True)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return nested, JSON-ready settings; ``method`` holds its name too."""
        return {
            "protocol": self.protocol,
            "method": {"name": self.method_name, **_plain(self.method)},
            "backbone": _plain(self.backbone),
            "data": _plain(self.data),
            "train": _plain(self.train),
            "seed": self.seed,
        }

    def flat(self) -> dict[str, Any]:
        """Return ``{"method.rank": 2, "data.shots": 16, ...}``, in a fixed order."""
        return flatten(self.as_dict())

    def digest(self) -> str:
        """Return the run id: 16 hex digits of a hash of every field."""
        text = json.dumps(self.flat(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def configuration(self) -> str:
        """Return the id of a configuration: everything but the seed, the data sets and the shots.

        Of runs that this one is initialized from, only their configuration counts
        (harness/run/warm_start.py).
        """
        same = DataSpec(name="", shots=1, val_shots=0)
        names = ("name", "content", "shots", "val_shots", "short_classes", "targets")
        data = replace(self.data, **{name: getattr(same, name) for name in names})
        method: Any = self.method
        if method.start:
            method = replace(method, start=method.start.rpartition("-")[2])
        if method.runs:
            known = {word: word.rpartition("-")[2] for word in method.runs}
            method = replace(method, sources=tuple(known.get(w, w) for w in method.sources))
        return replace(self, seed=0, data=data, method=method).digest()

    def overrides(self) -> list[str]:
        """Return the ``key=value`` words that rebuild this spec from its protocol's preset."""
        words = []
        for key, value in self.flat().items():
            if key != "protocol":
                shown = value if isinstance(value, str) else json.dumps(value)
                words.append(f"{key}={shown}" if shown else f'{key}=""')
        return words


def flatten(stored: dict[str, Any]) -> dict[str, Any]:
    """Return a stored spec with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in stored.items():
        if isinstance(value, dict):
            flat.update({f"{key}.{k}": v for k, v in value.items()})
        else:
            flat[key] = value
    return flat


def _plain(part: Any) -> dict[str, Any]:
    """Return a dataclass as JSON holds it (tuples become lists), without folders."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(part)))
    places = {f.name for f in fields(part) if f.metadata == NOT_IDENTITY}
    return {key: value for key, value in values.items() if key not in places}


def field_names(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))
