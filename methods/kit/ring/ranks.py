"""Ranks of rings, as a method's settings give them."""

from collections.abc import Sequence
from dataclasses import dataclass

from methods.kit.core.clip import Tower
from methods.kit.core.errors import UsageError
from methods.kit.ring.ring import Ring
from methods.kit.ring.tensor_ring import modes_of


@dataclass(frozen=True)
class Rank:
    """The ranks of one ring: between shared cores (one, or one for each bond), and of a slice."""

    ring: int | tuple[int, ...]
    slice: tuple[int, int]
    label: str = ""

    @property
    def of_bonds(self) -> tuple[int, ...]:
        return (self.ring,) if isinstance(self.ring, int) else self.ring

    @property
    def of_matrix(self) -> int:
        """The largest rank of a matrix of the ring."""
        return min(self.of_bonds) * min(self.slice)

    def ring_of(
        self, layers: int, rows: int, cols: int, factored: bool, reverse: bool = False
    ) -> Ring:
        """Return the ring of a stack of matrices; ``reverse``: ranks are listed right to left."""
        m, n = (modes_of(rows), modes_of(cols)) if factored else ((rows,), (cols,))
        bonds = len(m) + len(n) - 1
        ranks = (self.ring,) * bonds if isinstance(self.ring, int) else self.ring
        if len(ranks) != bonds:
            raise UsageError(
                f"method.ring_rank: {len(ranks)} ranks for {bonds} bonds between the shared cores"
                f" (modes {' '.join(map(str, (*m, *n)))})"
            )
        return Ring(layers, m, n, self.slice, ranks[::-1] if reverse else ranks)

    def check(self, tower: Tower) -> None:
        """Raise UsageError for a rank above the width of a tower."""
        for name, ranks in (("ring_rank", self.of_bonds), ("slice_size", self.slice)):
            for rank in ranks:
                if rank > tower.width:
                    raise UsageError(
                        f"method.{name}: {rank} is larger than the width {tower.width}"
                        f" of the {tower.name} tower"
                    )


def ranks_of(
    ring_rank: int | tuple[int, ...],
    slice_size: int | tuple[int, int],
    several: Sequence[tuple[int, int]],
) -> list[Rank]:
    """Return one rank, or ``several`` as (ring rank, slice size). Raises UsageError if equal."""
    if len(set(several)) < len(several):
        raise UsageError("method.ranks: two rings of the same ranks are one wider ring")
    if several:
        return [Rank(ring, (size, size), f"{ring}x{size}") for ring, size in several]
    return [
        Rank(ring_rank, (slice_size, slice_size) if isinstance(slice_size, int) else slice_size)
    ]
