"""AdaRing (Huang et al., 2025, arXiv 2508.11870): adapters of all layers as one tensor ring.

Confirmed by the abstract: cross-layer tensor ring decomposition of adapters into layer-shared
cores and layer-specific slices, 90 % fewer trainable parameters on average. Everything else is
our reading: two rings a tower, one for the down and one for the up matrices of bottleneck
adapters behind the MLP of every block,

    y + scale * act(y D_l) U_l,   D_l[i, j] = trace(S_l P[:, i, :] Q[:, j, :]),   U_l likewise.

Wide slices with a small ring rank did better on validation data than equal ranks of the same
count (ring rank 2 with slices 12 x 12 against 4 with 4 x 4 and 8 with 8 x 8, embedded backbone),
hence the defaults. The slices of the up ring start at zero, so the adapted model starts as the
frozen one. All layers' matrices are folded to their rank once a step (methods/kit/ring.py), at no
cost that shows.
"""

from dataclasses import dataclass

from methods.kit import bottleneck
from methods.kit.adapter import Adapter, Method, Task
from methods.kit.clip import Clip, Tower
from methods.kit.errors import UsageError
from methods.kit.fields import BOTH_TOWERS, Activation, Positive, Rate, TowerName
from methods.kit.ring import Ring


@dataclass(frozen=True)
class AdaRing(Method):
    paper = "Huang et al., 2025"
    recipe = {"train.lr": 1e-3}

    ring_rank: Positive = 2  # r2, links the two shared cores
    slice_size: Positive | tuple[Positive, Positive] = 12  # r0 x r1, what each layer has of its own
    bottleneck: Positive = 32
    activation: Activation = "gelu"
    scale: Rate = 1.0
    layers: str = "all"
    towers: tuple[TowerName, ...] = BOTH_TOWERS

    def attach(self, clip: Clip, task: Task) -> Adapter:
        adapter = Adapter(clip)
        for tower in clip.towers(self.towers):
            self._check(tower)
            blocks = list(tower.blocks(self.layers))
            down = self._ring(len(blocks), tower.width, self.bottleneck)
            up = self._ring(len(blocks), self.bottleneck, tower.width)
            downs = down.hang(adapter, f"{tower.name}.down", down.cores(tower.width))
            zero = up.cores(self.bottleneck, zero_slices=True)
            ups = up.hang(adapter, f"{tower.name}.up", zero)
            for block, d, u in zip(blocks, downs, ups, strict=True):
                bottleneck.hang(adapter, block, d, u, self.activation, self.scale)
        return adapter

    def _ring(self, layers: int, rows: int, cols: int) -> Ring:
        pair = self.slice_size
        pair = (pair, pair) if isinstance(pair, int) else pair
        return Ring(layers, rows, cols, pair, self.ring_rank)

    def _check(self, tower: Tower) -> None:
        bottleneck.check_bottleneck(self.bottleneck, tower)
        sizes = self.slice_size if isinstance(self.slice_size, tuple) else (self.slice_size,)
        for name, rank in (("ring_rank", self.ring_rank), *(("slice_size", s) for s in sizes)):
            if rank > tower.width:
                raise UsageError(
                    f"method.{name}: {rank} is larger than the width {tower.width}"
                    f" of the {tower.name} tower"
                )
