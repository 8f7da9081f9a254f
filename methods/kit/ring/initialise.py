"""Rings that begin near a stack of trained matrices instead of at random."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from methods.kit.contract.adapter import Adapter
from methods.kit.ring.decompose import Cores, decompose, trainable

ERRORS = "start_error"  # the table of what the rings leave out of what they start from
# Random stacks: within a hundredth of the error that four times the work finds. Rings: found.
SWEEPS, STARTS, FIRST = 120, 4, 15


@dataclass(frozen=True)
class Fit:
    """A ring near a stack: its cores, None where they are drawn, and the matrices that it makes."""

    cores: Cores | None
    made: Tensor


@torch.no_grad()
def fit(stack: Tensor, slice_size: tuple[int, int], ring_rank: int) -> Fit:
    """The ring of these ranks nearest to a stack (L, rows, cols), in cores that train well.

    On the meta device only shapes are given. A stack of zeros is left to a ring whose slices are
    zero and whose other cores are random: zero cores would never train.
    """
    if stack.is_meta or not stack.any():
        return Fit(None, torch.zeros_like(stack))
    found = decompose(stack, slice_size, ring_rank, SWEEPS, STARTS, first=FIRST)
    cores = trainable(found.cores)
    return Fit(cores, torch.einsum("alb,bic,cja->lij", *cores))


def report(adapter: Adapter, row: str, whole: Tensor, made: Tensor) -> None:
    """Keep |whole - made| / |whole| with the run."""
    if not whole.is_meta and whole.any():
        error = float((whole - made).norm() / whole.norm())
        adapter.report(ERRORS, partial(_row, error), row=row, columns=("relative",))


def _row(error: float) -> Tensor:
    return torch.tensor([error], device="cpu", dtype=torch.double)
