"""AdaRing (Huang et al., 2025, arXiv 2508.11870): adapters of all layers as one tensor ring.

Confirmed by the abstract: cross-layer tensor ring decomposition of adapters into layer-shared
cores and layer-specific slices; diverse rank-driven adapters that cooperate, guided by
generalization-aware fine-tuning; 90 % fewer trainable parameters on average. Everything else is
our reading, as is every option below.

``form="delta"``: the ring of the updates of weights at ``sites`` of all layers,
    W_l + scale * D_l,   D_l[i, j] = trace(S_l P[:, i, :] Q[:, j, :]),
which runs as LoRA with ``dropout`` and folds; ``grouping="shape"`` puts all sites of one shape on
one layer axis. ``form="adapter"``: of bottleneck adapters behind the MLP of every block,

    y + scale * act(y D_l) U_l.

``reading``: ``two_rings`` a tower, one of the down and one of the up matrices;
``one_ring``, in which down and up (transposed) share P and Q and have each their slices;
``factored``, with widths and bottleneck written as small factors and a core for each;
``parallel``, with the adapters beside whole blocks, in the upper two thirds of them and times
0.001, where MMA (Yang et al., 2024) has them. ``share="both"``: the cores of the bottleneck serve
both towers (delta form: those of the widths, where the towers have the same).

``ranks``: several rings side by side, each (ring rank, slice size). ``combine``: their plain
``sum``; a learnt weight for each layer (``layer_gate``: as good as one more factor on the slices,
but one that says which rank a layer uses), or one for each task of multi_task too (``task_gate``);
or soft routing of tokens by ``input_gate``, with a temperature that falls from the first to the
second of ``temperature``. ``consistency_*``: weights of the penalties that hold the model near the
frozen one (methods/kit/parts/consistency.py); with ``consistency_on="low_rank"`` the ring of
smallest rank is trained by them alone and the others by the task alone, with a second backward
pass.

Slices of up matrices and of updates start at zero, so the adapted model starts as the frozen one.
Matrices are made once a step (methods/kit/ring/ring.py). Why these defaults: docs/adaring.md.

``start``: the id of a run with adapters or weight updates in the same places, on the same backbone;
the rings begin as the nearest ones to its matrices (least squares: methods/kit/ring/decompose.py)
and the adapted model near that run's, not at the frozen one. Of several rings each begins near what
those before it leave: of updates; of adapters of the up matrices, and all near the same down ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from methods.kit import (
    BOTH_TOWERS,
    Activation,
    Adapter,
    Block,
    Clip,
    Dropout,
    LinearSite,
    Method,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Ref,
    Task,
    Tower,
    TowerName,
    UsageError,
)
from methods.kit.contract.source_weights import SourceWeights
from methods.kit.parts import consistency
from methods.kit.parts.bottleneck import attach_bottleneck, check_bottleneck
from methods.kit.parts.routing import InputGates, layer_gates
from methods.kit.ring import adapter_rings, weight_rings
from methods.kit.ring.adapter_rings import Rank


@dataclass(frozen=True)
class AdaRing(Method):
    paper = "Huang et al., 2025"
    fidelity = "reading"
    recipe = {"train.lr": 1e-3}

    ring_rank: PositiveInt | tuple[PositiveInt, ...] = (
        2  # between shared cores; a list: bond by bond
    )
    slice_size: PositiveInt | tuple[PositiveInt, PositiveInt] = (
        8  # r0 x r1, what each layer has of its own
    )
    ranks: tuple[
        tuple[PositiveInt, PositiveInt], ...
    ] = ()  # several rings; (): the one of these two
    combine: Literal["sum", "layer_gate", "task_gate", "input_gate"] = "sum"
    temperature: tuple[PositiveFloat, PositiveFloat] = (
        1.0,
        0.1,
    )  # input_gate: at the start and at the end
    form: Literal["delta", "adapter"] = "delta"
    reading: adapter_rings.Reading = "two_rings"
    share: adapter_rings.Share = "tower"
    bottleneck: PositiveInt = 32  # adapter form
    activation: Activation = "gelu"  # adapter form
    sites: tuple[LinearSite, ...] = ("q", "k", "v")  # delta form
    grouping: weight_rings.Grouping = "shape"  # delta form
    dropout: Dropout | Literal["auto"] = "auto"  # delta form: on the input of each update; 0.25
    scale: PositiveFloat | Literal["auto"] = "auto"  # 1; parallel: 0.001
    layers: str = "auto"  # all; parallel: the upper two thirds
    towers: tuple[TowerName, ...] = BOTH_TOWERS
    consistency_logits: NonNegativeFloat = 0.0
    consistency_image: NonNegativeFloat = 0.0
    consistency_text: NonNegativeFloat = 0.0
    consistency_distance: consistency.Distance = "cosine"
    consistency_on: Literal["all", "low_rank"] = "all"
    start: str = ""  # a finished run to begin near: its id, or full_rank for the one of this cell

    @property
    def identity(self) -> bool:
        return not self.start

    def attach(self, clip: Clip, task: Task) -> Adapter:
        towers = list(clip.towers(self.towers))
        self._check(towers)
        if task.start is not None:
            adapter_rings.check_start(self.reading, self.share)
            task.start.check_towers([tower.name for tower in towers])
        adapter = Adapter(clip)
        for tower in towers:
            blocks = adapter_rings.blocks(self.reading, self.layers, tower)
            gates: Sequence[Ref | None] = [None] * len(self._ranks)
            if self.combine in ("layer_gate", "task_gate"):
                sets = task.names if self.combine == "task_gate" else ()
                gates = layer_gates(adapter, tower, blocks, [r.label for r in self._ranks], sets)
            if self.form == "delta":
                self._deltas(adapter, blocks, gates, task.start)
            else:
                self._adapters(adapter, tower, blocks, gates, task.start)
        alone = self._low_rank(adapter) if self.consistency_on == "low_rank" else ()
        consistency.attach_consistency(adapter, self._weights, self.consistency_distance, alone)
        return adapter

    def _adapters(
        self,
        adapter: Adapter,
        tower: Tower,
        blocks: Sequence[Block],
        gates: Sequence[Ref | None],
        start: SourceWeights | None,
    ) -> None:
        place, scale = (
            adapter_rings.place(self.reading),
            adapter_rings.scale(self.reading, self.scale),
        )
        near = start.matrices(blocks, self.bottleneck, self.activation) if start else None
        stacks = [
            adapter_rings.Adapters(
                tower, len(blocks), self.bottleneck, self.reading, self.share, rank
            )
            for rank in self._ranks
        ]
        fits = adapter_rings.fits(adapter, stacks, near, scale)
        rings = [
            stack.own(adapter, gate, fit)
            for stack, gate, fit in zip(stacks, gates, fits, strict=True)
        ]
        router = None
        if self.combine == "input_gate":
            router = InputGates.own(adapter, tower, blocks, len(rings), self.temperature)
        for i, (block, *branches) in enumerate(zip(blocks, *rings, strict=True)):
            attach_bottleneck(adapter, block, branches, self.activation, scale, place, router, i)

    def _deltas(
        self,
        adapter: Adapter,
        blocks: Sequence[Block],
        gates: Sequence[Ref | None],
        start: SourceWeights | None,
    ) -> None:
        factored, shared = self.reading == "factored", self.share == "both"
        scale = adapter_rings.scale(self.reading, self.scale)
        if start is not None:
            start.check_sites(blocks, self.sites)
        groups = weight_rings.groups(blocks, self.sites, self.grouping)
        fits = [weight_rings.fits(adapter, group, self._ranks, scale, start) for group in groups]
        drop = 0.25 if self.dropout == "auto" else self.dropout  # as CLIP-LoRA's
        for k, (rank, gate) in enumerate(zip(self._ranks, gates, strict=True)):
            for group, cores in zip(groups, fits, strict=True):
                weight_rings.attach_weight_updates(
                    adapter, group, rank, factored, scale, gate, shared, drop, cores[k]
                )

    # --- what the fields say ------------------------------------------------------------------

    @property
    def _ranks(self) -> list[Rank]:
        return adapter_rings.ranks(self.ring_rank, self.slice_size, self.ranks)

    @property
    def _weights(self) -> consistency.Weights:
        return consistency.Weights(
            self.consistency_logits, self.consistency_image, self.consistency_text
        )

    def _low_rank(self, adapter: Adapter) -> list[str]:
        """The parameters of the ring whose matrices have the smallest rank."""
        label = adapter_rings.lowest(self._ranks).label
        return [name for name in adapter.trained() if f".{label}." in name]

    def _check(self, towers: Sequence[Tower]) -> None:
        """Raises UsageError for settings that do not go together."""
        several = len(self.ranks) > 1
        if self.combine != "sum" and not several:
            raise UsageError(f"method.combine: {self.combine!r} needs two rings in method.ranks")
        if self.consistency_on == "low_rank" and not (several and self._weights):
            raise UsageError(
                "method.consistency_on: 'low_rank' needs two rings in method.ranks and a"
                " consistency weight above 0"
            )
        if self.dropout not in ("auto", 0) and self.form != "delta":
            raise UsageError("method.dropout: needs method.form=delta")
        if self.form == "delta":
            if self.combine == "input_gate":
                raise UsageError("method.combine: 'input_gate' needs method.form=adapter")
            if self.reading not in ("two_rings", "factored"):
                raise UsageError(f"method.reading: {self.reading!r} needs method.form=adapter")
        if self.share == "both":
            adapter_rings.check_shared(towers, self.form == "delta")
        for tower in towers:
            if self.form == "adapter":
                check_bottleneck(self.bottleneck, tower)
            for rank in self._ranks:
                rank.check(tower)
