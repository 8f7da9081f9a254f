"""What a training step does, counted and not timed: the same on every machine.

Operations and kernels of a step (forward and backward) on ViT-B/16 without its numbers, on the meta
device, where attention is counted as its products and a softmax; and the bytes that are held for
the backward pass of a text tower. tests/harness/model/test_flops.py asserts the goals.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from harness.model import clip_layout, open_clip_configs
from harness.model.backbone import backbone_outline
from harness.model.prompt_packing import Prompts
from harness.model.tower import Tower
from methods.kit import Method, Task
from methods.lora import LoRA
from tests.benchmarks import peers
from tests.benchmarks.ours import B32, TEMPLATE, attached, backbone
from tests.benchmarks.ours import names as plain_names
from tests.benchmarks.ours import tokens as padded
from tests.methods.adapter_values import stack

MODEL = "ViT-B-16"
RANK, BATCH = 4, 32
LORA = LoRA(rank=RANK, dropout=0.0)
WORDS = (  # one to three words a name, as the classes of ImageNet have them
    "tench", "great white shark", "hammerhead", "bald eagle", "fire salamander", "loggerhead",
    "magnifying glass", "street sign", "red fox", "grand piano", "airliner", "paper towel",
)  # fmt: skip

Step = Callable[[], object]


@dataclass(frozen=True)
class Count:
    """A number of ours, the same of a peer ('' for none), and the least (most, without a peer)."""

    row: str
    case: str
    ours: float
    peer: str
    theirs: float
    goal: float | None

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours

    @property
    def reached(self) -> bool | None:
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.peer else self.ours < self.goal


class Launches(TorchDispatchMode):
    """Counts dispatched operations that are no views: each is a kernel on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, returns = func.overloadpacket.__name__, func._schema.returns
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in returns)
        if not view and name != "_unsafe_view":
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def operations(step: Step) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def launches(step: Step) -> int:
    with Launches() as counter:
        step()
    return sum(counter.found.values())


# --- a step on the meta device ----------------------------------------------------------------


def names(count: int) -> tuple[str, ...]:
    """Names of classes, all different."""
    return tuple(f"{WORDS[i % len(WORDS)]} {chr(97 + i // len(WORDS) % 26)}" for i in range(count))


@cache
def outline() -> clip_layout.ClipLayout:
    return backbone_outline(MODEL)


@cache
def prompts(classes: int) -> Prompts:
    """As our text tower reads them."""
    with torch.device("cpu"):  # their lengths are looked at
        ids = open_clip.get_tokenizer(MODEL)([TEMPLATE.format(name) for name in names(classes)])
        return Tower(outline().text, outline().clip.weights).prompts(ids).to("meta")


def ours(method: Method, classes: int, trials: int | None = None) -> Step:
    """A step of a method, of several trials side by side with ``trials``."""
    parts, given = outline(), prompts(classes)
    image, text = (Tower(s, parts.clip.weights) for s in (parts.image, parts.text))
    with torch.device("meta"):
        task = Task(names(classes), TEMPLATE, given.ids)
        adapters = [method.attach(parts.clip, task) for _ in range(trials or 1)]
        values = stack(adapters) if trials else adapters[0].values()
        x, labels = torch.empty(BATCH, 3, 224, 224), torch.empty(BATCH, dtype=torch.long)

    def step() -> None:
        for value in values.values():
            value.grad = None
        bound = adapters[0].bind(values, trials)
        features = image(x, bound), text(given, bound)
        a, b = (F.normalize(f, dim=-1) for f in features)
        logits = (100 * a @ b.mT).flatten(0, -2)
        F.cross_entropy(logits, labels.repeat(trials or 1), reduction="sum").backward()

    return step


PEERS: dict[str, Callable[[Any], Any]] = {
    "CLIP-LoRA's order": lambda model: peers.split_lora(model, RANK),
    "peft on attn": lambda model: peers.peft_lora(model, RANK),
    "full": peers.full,
}


@cache
def _peer_model(name: str) -> Any:
    with torch.device("meta"):
        model = open_clip_configs.build_model(
            MODEL, open_clip_configs.model_config(MODEL)
        ).requires_grad_(False)
        return PEERS[name](model)


def peer(name: str, classes: int) -> Step:
    """The same step as a peer takes it, at 77 tokens."""
    model = _peer_model(name)
    with torch.device("meta"):
        x, labels = torch.empty(BATCH, 3, 224, 224), torch.empty(BATCH, dtype=torch.long)
        ids = torch.empty(classes, 77, dtype=torch.long)

    def step() -> None:
        for p in peers.trained(model):
            p.grad = None
        with torch.device("meta"):
            a, b = model.encode_image(x, True), model.encode_text(ids, True)
            F.cross_entropy(100 * a @ b.T, labels).backward()

    return step


# --- the rows ---------------------------------------------------------------------------------

FLOPS = {1000: 6.5, 100: 2.0, 10: 1.45}  # times fewer operations than CLIP-LoRA's order
LAUNCHES = {None: 1300, 8: 180}  # at most so many kernels a trial's step
SAVED = 8  # times fewer bytes


@cache
def peer_operations(name: str, classes: int) -> int:
    return operations(peer(name, classes))


def flops(goals_only: bool = False) -> Iterator[Count]:
    """Operations of a step; ``goals_only`` leaves out peers without a goal, here and below."""
    for classes, goal in FLOPS.items():
        mine = operations(ours(LORA, classes))
        for name in PEERS:
            least = goal if name == "CLIP-LoRA's order" else None
            if least is None and goals_only:
                continue
            case = f"ViT-B/16, 32 images, {classes} classes"
            yield Count("work.flops", case, mine, name, peer_operations(name, classes), least)


def kernels(goals_only: bool = False) -> Iterator[Count]:
    for trials, most in LAUNCHES.items():
        mine = launches(ours(LORA, 100, trials)) / (trials or 1)
        case = f"ViT-B/16, a trial's step, {trials or 1} side by side"
        yield Count("work.launches", case, mine, "", 0, most)
    if goals_only:
        return
    mine = launches(ours(LORA, 100))
    for name in PEERS:
        yield Count(
            "work.launches", "ViT-B/16, one trial", mine, name, launches(peer(name, 100)), None
        )


def saved(goals_only: bool = False) -> Iterator[Count]:
    """Bytes that the text tower of ViT-B/32 holds for its backward pass, 40 classes."""
    model, classes = backbone(B32), 40
    adapter = attached(LoRA(rank=RANK, dropout=0.0, towers=("text",)), model, classes)
    given = model.prompts(TEMPLATE, plain_names(classes))
    there = [*model.model.parameters(), *adapter.parameters()]
    mine = held(lambda: model.text(given, adapter.bind()), there)
    ids = padded(model, classes)
    for name in PEERS:
        whole = PEERS[name](model.model)
        theirs = held(lambda whole=whole: whole.encode_text(ids), [*whole.parameters()])  # type: ignore[misc]
        case = f"text tower of ViT-B/32, {classes} classes"
        yield Count("work.saved", case, mine, name, theirs, SAVED)


def held(forward: Callable[[], Tensor], there: Sequence[Tensor]) -> int:
    """Bytes of the storages that autograd keeps, without those that are there anyhow."""
    kept: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        y = forward()
    own = {t.untyped_storage().data_ptr() for t in there}
    del y
    return sum(size for place, size in kept.items() if place not in own)


COUNTS = {"work.flops": flops, "work.launches": kernels, "work.saved": saved}
