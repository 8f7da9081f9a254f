"""Tensor rings: contraction, decomposition, rings of weights and of adapters."""
