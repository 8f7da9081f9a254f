"""Operations of a frozen tower's forward pass, from shapes alone.

Equal to the count of torch's FlopCounterMode (tests/harness/train/test_cache_plan.py): linear maps
run over rows, attention over padded sequences, the last block over the pooled tokens.
"""

from dataclasses import dataclass

from harness.model.prompt_packing import Packing, Prompts
from harness.model.tower import Tower


@dataclass(frozen=True)
class TokenBatch:
    """The input of a tower: ``n`` sequences of ``length`` tokens, packed into ``rows``."""

    n: int
    length: int
    rows: int


def image_batch(tower: Tower, n: int) -> TokenBatch:
    return TokenBatch(n, tower.shape.length, n * tower.shape.length)


def prompt_batch(prompts: Prompts, packing: Packing | None) -> TokenBatch:
    n, length = prompts.ids.shape
    return TokenBatch(n, length, n * length if packing is None else len(packing.places))


def forward_operations(tower: Tower, batch: TokenBatch, point: int = -1) -> int:
    """Return the operations from a point of the tower (-1: its inputs) to its features."""
    s = tower.shape
    total = sum(_block(tower, batch, i) for i in range(max(point, 0), s.depth))
    if point < 0 and s.name == "image":
        patches = batch.n * (batch.length - 1)
        total += 2 * patches * tower.weights["image.patches.weight"].numel()
    project = tower.weights.get(f"{s.name}.project.weight")
    if point <= s.depth and project is not None:
        total += 2 * batch.n * project.numel()
    return total


def _block(tower: Tower, batch: TokenBatch, i: int) -> int:
    s = tower.shape
    pooled = i == s.depth - 1 and s.pool != "mean"
    rows = batch.n if pooled else batch.rows
    queries = batch.n if pooled else batch.n * batch.length
    keys_and_values = batch.rows * 2 * s.width
    linear = 2 * s.width * (rows * (2 * s.width + 2 * s.hidden) + keys_and_values)
    return linear + 4 * queries * batch.length * s.width
