"""The operations of a frozen tower's forward pass, from shapes alone.

Equal to what torch's FlopCounterMode counts (tests/harness/train/test_cache_plan.py): linear maps
run over rows, attention over padded sequences, the last block over the pooled tokens.
"""

from dataclasses import dataclass

from harness.model.prompt_packing import Packing
from harness.model.tower import Prompts, Tower


@dataclass(frozen=True)
class TokenBatch:
    """What goes through a tower: ``n`` sequences of ``length`` tokens, in so many rows."""

    n: int
    length: int
    rows: int


def image_batch(tower: Tower, n: int) -> TokenBatch:
    return TokenBatch(n, tower.shape.length, n * tower.shape.length)


def prompt_batch(given: Prompts, packing: Packing | None) -> TokenBatch:
    n, length = given.ids.shape
    return TokenBatch(n, length, n * length if packing is None else len(packing.places))


def forward_operations(tower: Tower, load: TokenBatch, point: int = -1) -> int:
    """Operations from a point of the tower (-1: its inputs) to its features."""
    s = tower.shape
    done = sum(_block(tower, load, i) for i in range(max(point, 0), s.depth))
    if point < 0 and s.name == "image":
        patches = load.n * (load.length - 1)
        done += 2 * patches * tower.weights["image.patches.weight"].numel()
    project = tower.weights.get(f"{s.name}.project.weight")
    if point <= s.depth and project is not None:
        done += 2 * load.n * project.numel()
    return done


def _block(tower: Tower, load: TokenBatch, i: int) -> int:
    s = tower.shape
    pooled = i == s.depth - 1 and s.pool != "mean"
    rows = load.n if pooled else load.rows
    queries = load.n if pooled else load.n * load.length
    keys_and_values = load.rows * 2 * s.width
    linear = 2 * s.width * (rows * (2 * s.width + 2 * s.hidden) + keys_and_values)
    return linear + 4 * queries * load.length * s.width
