"""Low-rank paths of the sites of an adapter, during one step."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from methods.kit.binding import low_rank_kernels
from methods.kit.binding.linear import Rows, cut, low_rank
from methods.kit.binding.low_rank_kernels import Layout, Pair
from methods.kit.binding.randomness import Noise
from methods.kit.binding.step_tensors import StepTensors
from methods.kit.binding.wiring import Add, Attached, Wiring
from methods.kit.core.clip import Key


class LowRankPaths(StepTensors):
    """The low-rank paths of each site as one pair, computed once a step."""

    def __init__(
        self,
        wiring: Wiring,
        values: Mapping[str, Tensor],
        trials: int | None = None,
        noise: Noise | None = None,
    ) -> None:
        super().__init__(wiring, values, trials, noise)
        self._fused: dict[tuple[Key, float | None], Pair] = {}

    def at(self, key: Key) -> Attached | None:
        return self.wiring.sites.get(key)

    def pair(self, key: Key, out: int) -> Pair | None:
        """Return the low-rank paths of a site as one: down (R, in), up (out, R); None if none."""
        site = self.at(key)
        return self._fuse(key, out) if site and site.adds else None

    def add_low_rank(self, key: Key, x: Tensor, y: Tensor, out: int, rows: Rows | None) -> Tensor:
        """Return y plus the low-rank paths of a site, each behind its dropout."""
        site = self.at(key)
        for rate in sorted({a.dropout for a in site.adds}) if site else ():
            down, up = self._fuse(key, out, rate)
            y = low_rank(y, x * self._mask(key, x, rate) if rate else x, down, cut(up, rows, 2))
        return y

    def _fuse(self, key: Key, out: int, rate: float | None = None) -> Pair:
        """Return the paths of a site as one pair: down (R, in), up (out, R), with their scale.

        Paths with one ``down`` (q, k and v of a ring over layers and sites) share its product.
        ``rate`` selects the paths of this dropout. Sites of equal layout are fused together.
        """
        if (key, rate) not in self._fused:
            paths = dict(self._paths(key, rate))
            layout = Layout.of(paths[key])
            alike = {k: adds for k, adds in paths.items() if Layout.of(adds) == layout}
            downs = [
                [self.get(d) for d in dict.fromkeys(a.down for a in p)] for p in alike.values()
            ]
            ups = [[self.get(a.up) for a in p] for p in alike.values()]
            made = low_rank_kernels.pairs(downs, ups, layout, out)
            self._fused.update({(k, rate): pair for k, pair in zip(alike, made, strict=True)})
        return self._fused[key, rate]

    def _paths(self, key: Key, rate: float | None) -> Iterator[tuple[Key, list[Add]]]:
        """Yield the low-rank paths of each block of a tower at sites of this name."""
        for other, site in self.wiring.sites.items():
            if (other[0], other[2]) == (key[0], key[2]) and site.adds:
                yield other, [a for a in site.adds if rate is None or a.dropout == rate]

    def _mask(self, key: Key, x: Tensor, rate: float) -> Tensor:
        """Return the dropout mask of the paths of a site with this rate."""
        assert self.noise is not None
        return self.noise.dropout((*key, rate), x.shape[-2:], rate).to(x.dtype)
