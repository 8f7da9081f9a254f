"""AdaRing (Huang et al., 2025, arXiv 2508.11870): adapters of all layers as one tensor ring.

The abstract says: cross-layer tensor ring decomposition of adapters into layer-shared cores and
layer-specific slices; diverse rank-driven adapters that cooperate, guided by generalization-aware
fine-tuning; 90 % fewer trainable parameters on average. The rest is our reading (docs/adaring.md).

``form="delta"``: a ring of the weight updates at ``sites`` of all layers,
W_l + scale * D_l with D_l[i, j] = trace(S_l P[:, i, :] Q[:, j, :]). It runs as LoRA with
``dropout`` and folds. ``grouping="shape"`` puts all sites of one shape on one layer axis.
``form="adapter"``: rings of bottleneck adapters after the MLP of every block,
y + scale * act(y D_l) U_l.

``reading``: ``two_rings`` a tower, one of the down and one of the up matrices; ``one_ring``, where
down and up (transposed) share P and Q but not slices; ``factored``, with widths and bottleneck as
small factors and a core for each; ``parallel``, with adapters parallel to the upper two thirds of
the blocks and times 0.001, as in MMA (Yang et al., 2024). ``share="both"``: both towers share the
cores of the bottleneck (delta form: of the widths, which must be equal).

``ranks``: several rings, each (ring rank, slice size), combined by ``combine``: ``sum``;
``layer_gate``, a learned weight for each layer, which says which rank a layer uses; ``task_gate``,
also for each task of multi_task; ``input_gate``, soft routing of tokens with a temperature that
falls from the first to the second of ``temperature``. ``consistency_*``: weights of the penalties
on the distance to the frozen model (methods/kit/parts/consistency.py). With
``consistency_on="low_rank"``, they alone train the ring of lowest rank, and the task alone trains
the others, with a second backward pass.

Slices of up matrices and of updates start at zero, so the adapted model starts as the frozen one.
``start``: the id of a run with adapters or updates in the same places, on the same backbone. Rings
start at the least-squares fit to its matrices, so the adapted model starts near that run's. Several
rings are fitted in turn, each to what the previous ones leave (of the up matrices, for adapters).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from methods.kit import Adapter, Block, Clip, Method, Ref, Task, Tower, UsageError
from methods.kit.contract.source_weights import SourceWeights
from methods.kit.core.field_types import (
    BOTH_TOWERS,
    Activation,
    Dropout,
    LinearSite,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    TowerName,
)
from methods.kit.parts.bottleneck import attach_bottleneck, check_bottleneck
from methods.kit.parts.consistency import Distance, Weights, penalise_inconsistency
from methods.kit.parts.routing import InputGates, layer_gates
from methods.kit.ring.adapter_rings import AdapterRings, Reading, Share, fit_adapters
from methods.kit.ring.ranks import Rank, ranks_of
from methods.kit.ring.weight_rings import Grouping, attach_updates, fit_updates, group_sites

Gates = Sequence[Ref | None]  # for each ring, the weights of its layers


@dataclass(frozen=True)
class AdaRing(Method):
    paper = "Huang et al., 2025"
    fidelity = "reading"
    recipe = {"train.lr": 1e-3}

    ring_rank: PositiveInt | tuple[PositiveInt, ...] = 2  # of shared cores; a list: of each bond
    slice_size: PositiveInt | tuple[PositiveInt, PositiveInt] = 8  # r0 x r1 numbers a layer
    ranks: tuple[tuple[PositiveInt, PositiveInt], ...] = ()  # several rings; (): the one above
    combine: Literal["sum", "layer_gate", "task_gate", "input_gate"] = "sum"
    temperature: tuple[PositiveFloat, PositiveFloat] = (1.0, 0.1)  # input_gate: first and last
    form: Literal["delta", "adapter"] = "delta"
    reading: Reading = "two_rings"
    share: Share = "tower"
    bottleneck: PositiveInt = 32  # adapter form
    activation: Activation = "gelu"  # adapter form
    sites: tuple[LinearSite, ...] = ("q", "k", "v")  # delta form
    grouping: Grouping = "shape"  # delta form
    dropout: Dropout | Literal["auto"] = "auto"  # delta form: on the input of each update; 0.25
    scale: PositiveFloat | Literal["auto"] = "auto"  # 1; parallel: 0.001
    layers: str = "auto"  # all; parallel: the upper two thirds
    towers: tuple[TowerName, ...] = BOTH_TOWERS
    consistency_logits: NonNegativeFloat = 0.0
    consistency_image: NonNegativeFloat = 0.0
    consistency_text: NonNegativeFloat = 0.0
    consistency_distance: Distance = "cosine"
    consistency_on: Literal["all", "low_rank"] = "all"
    start: str = ""  # a finished run to start near: its id, or full_rank for the one of this cell

    @property
    def identity(self) -> bool:
        return not self.start

    def attach(self, clip: Clip, task: Task) -> Adapter:
        towers, start = list(clip.towers(self.towers)), task.start
        self._check(towers, start)
        adapter = Adapter(clip)
        for tower in towers:
            blocks = self._blocks(tower)
            gates: Gates = [None] * len(self._ranks)
            if self.combine in ("layer_gate", "task_gate"):
                tasks = task.names if self.combine == "task_gate" else ()
                gates = layer_gates(adapter, blocks, [rank.label for rank in self._ranks], tasks)
            attach = self._attach_updates if self.form == "delta" else self._attach_adapters
            attach(adapter, blocks, gates, start)
        exclusive = self._low_rank(adapter) if self.consistency_on == "low_rank" else ()
        penalise_inconsistency(adapter, self._consistency, self.consistency_distance, exclusive)
        return adapter

    def _attach_adapters(
        self, adapter: Adapter, blocks: list[Block], gates: Gates, start: SourceWeights | None
    ) -> None:
        near = start.stacked_adapters(blocks, self.bottleneck, self.activation) if start else None
        sizes = blocks, self.bottleneck, self.reading, self.share
        rings = [AdapterRings(*sizes, rank) for rank in self._ranks]
        fits = fit_adapters(adapter, rings, near, self._scale)
        branches = [r.own(adapter, g, f) for r, g, f in zip(rings, gates, fits, strict=True)]
        router = None
        if self.combine == "input_gate":
            router = InputGates.own(adapter, blocks, len(rings), self.temperature)
        place: Literal["mlp", "block"] = "block" if self.reading == "parallel" else "mlp"
        for i, (block, *mine) in enumerate(zip(blocks, *branches, strict=True)):
            attach_bottleneck(adapter, block, mine, self.activation, self._scale, place, router, i)

    def _attach_updates(
        self, adapter: Adapter, blocks: list[Block], gates: Gates, start: SourceWeights | None
    ) -> None:
        factored, shared = self.reading == "factored", self.share == "both"
        if start:
            start.check_sites(blocks, self.sites)
        groups = group_sites(blocks, self.sites, self.grouping)
        fits = [fit_updates(adapter, group, self._ranks, self._scale, start) for group in groups]
        dropout = 0.25 if self.dropout == "auto" else self.dropout  # as in CLIP-LoRA
        for k, (rank, gate) in enumerate(zip(self._ranks, gates, strict=True)):
            for group, cores in zip(groups, fits, strict=True):
                attach_updates(
                    adapter, group, rank, factored, self._scale, gate, shared, dropout, cores[k]
                )

    @property
    def _ranks(self) -> list[Rank]:
        return ranks_of(self.ring_rank, self.slice_size, self.ranks)

    @property
    def _scale(self) -> float:
        default = 0.001 if self.reading == "parallel" else 1.0
        return default if self.scale == "auto" else self.scale

    @property
    def _consistency(self) -> Weights:
        return Weights(self.consistency_logits, self.consistency_image, self.consistency_text)

    def _blocks(self, tower: Tower) -> list[Block]:
        upper = self.layers == "auto" and self.reading == "parallel"
        layers = f"top:{max(1, round(tower.depth * 2 / 3))}" if upper else self.layers
        return list(tower.blocks("all" if layers == "auto" else layers))

    def _low_rank(self, adapter: Adapter) -> list[str]:
        """Return the parameters of the ring whose matrices have the lowest rank."""
        label = min(self._ranks, key=lambda rank: rank.of_matrix).label
        return [name for name in adapter.trained() if f".{label}." in name]

    def _check(self, towers: Sequence[Tower], start: SourceWeights | None) -> None:
        """Raise UsageError for settings that do not go together."""
        several, delta = len(self.ranks) > 1, self.form == "delta"
        if self.combine != "sum" and not several:
            raise UsageError(f"method.combine: {self.combine!r} needs two rings in method.ranks")
        if self.consistency_on == "low_rank" and not (several and self._consistency):
            raise UsageError(
                "method.consistency_on: 'low_rank' needs two rings in method.ranks and a"
                " consistency weight above 0"
            )
        if delta and self.combine == "input_gate":
            raise UsageError("method.combine: 'input_gate' needs method.form=adapter")
        if delta and self.reading not in ("two_rings", "factored"):
            raise UsageError(f"method.reading: {self.reading!r} needs method.form=adapter")
        if not delta and self.dropout not in ("auto", 0):
            raise UsageError("method.dropout: needs method.form=delta")
        if self.share == "both":
            _check_shared(towers, delta)
        for tower in towers:
            if not delta:
                check_bottleneck(self.bottleneck, tower)
            for rank in self._ranks:
                rank.check(tower)
        if start is not None:
            if self.reading not in ("two_rings", "one_ring"):
                raise UsageError(f"method.start: needs two_rings or one_ring, not {self.reading!r}")
            if self.share != "tower":
                raise UsageError(f"method.start: needs method.share=tower, not {self.share!r}")
            start.check_towers([tower.name for tower in towers])


def _check_shared(towers: Sequence[Tower], delta: bool) -> None:
    if len(towers) < 2:
        raise UsageError("method.share: 'both' needs both towers in method.towers")
    one, two = towers
    if delta and (one.width, one.hidden) != (two.width, two.hidden):
        raise UsageError(
            "method.share: 'both' in delta form needs towers of one width, these are"
            f" {one.width} and {two.width} wide"
        )
