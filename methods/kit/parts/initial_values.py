"""Initial values of matrices."""

import math

import torch
from torch import Tensor


def linear_init(*shape: int, fan_in: float) -> Tensor:
    """Draw weights or biases as a default nn.Linear does: uniform within 1 / sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in)
    return torch.empty(shape).uniform_(-bound, bound)
