"""Rings of order 3."""

from methods.kit.ring.ring import Ring


def plain(
    layers: int, rows: int, cols: int, slice_size: tuple[int, int], ring_rank: int = 1
) -> Ring:
    """A ring with plain rows and columns."""
    return Ring(layers, (rows,), (cols,), slice_size, (ring_rank,))
