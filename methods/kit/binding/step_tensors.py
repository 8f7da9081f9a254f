"""Owned, drawn and derived tensors of one step, and calls of attached functions on them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from methods.kit.binding.randomness import Noise
from methods.kit.binding.wiring import Draw, Fn, Ref, Wiring

Argument = tuple[Any, bool]  # a value, and whether it has a leading trial axis


class StepTensors:
    """The tensors of an adapter during one step. With ``trials``, all have a leading trial axis.

    Without ``noise``, as outside of training, drawn tensors have their ``eval_value``.
    """

    def __init__(
        self,
        wiring: Wiring,
        values: Mapping[str, Tensor],
        trials: int | None = None,
        noise: Noise | None = None,
    ) -> None:
        self.wiring = wiring
        self.trials = trials
        self.noise = noise
        self.inactive: list[tuple[int, str]] = []  # (trial, parameter) that this step skips
        self._owned = values
        self._values: dict[str, Any] = dict(values)
        for draw in wiring.draws.values():
            self._values[draw.name] = self._drawn(draw)
        for d in wiring.derived:
            self._values[d.name] = self.call(d.fn, (), d.refs)

    def value(self, name: str) -> Tensor:
        """Return an owned, drawn or derived tensor."""
        tensor: Tensor = self._values[name]
        return tensor

    def get(self, ref: Ref) -> Any:
        """Return a tensor, or the dict of a module's tensors."""
        if ref.name in self.wiring.modules:
            start = ref.name + "."
            return {n[len(start) :]: v for n, v in self._values.items() if n.startswith(start)}
        value = self._values[ref.name]
        for i in ref.index:
            value = value[i] if isinstance(value, tuple) or self.trials is None else value[:, i]
        return value

    def call(self, fn: Fn, args: Sequence[Argument], refs: Sequence[Ref]) -> Any:
        """Return fn(*args, *tensors), vmapped over the trial axis of whatever has one."""
        modules = [self.wiring.modules.get(ref.name) for ref in refs]

        def whole(*given: Any) -> Any:
            own = zip(modules, given[len(args) :], strict=True)
            return fn(*given[: len(args)], *(t if m is None else _callable(m, t) for m, t in own))

        values = [value for value, _ in args] + [self.get(ref) for ref in refs]
        axes = tuple(0 if lifted else None for _, lifted in args) + (0,) * len(refs)
        if self.trials is None or 0 not in axes:
            return whole(*values)
        return torch.vmap(whole, in_dims=axes)(*values)

    def used(self) -> list[Tensor]:
        """Return the distinct tensors that are still computed with after folding."""
        calls = [c for site in self.wiring.sites.values() for c in (*site.before, *site.after)]
        calls += [self.wiring.score] if self.wiring.score else []
        found: dict[tuple[str, tuple[int, ...]], Any] = {}
        refs = (ref for call in calls for ref in call.refs if ref.name not in self.wiring.draws)
        for ref in refs:
            if not any((ref.name, ref.index[:i]) in found for i in range(len(ref.index))):
                found[ref.name, ref.index] = self.get(ref)
        return [tensor for value in found.values() for tensor in _flat_tensors(value)]

    def _drawn(self, draw: Draw) -> Tensor:
        if self.noise is None:
            value = draw.eval_value
            return value if self.trials is None else value.expand(self.trials, *value.shape)
        if not draw.parameters:
            return self.noise.draw_like(draw.name, draw.fn, draw.eval_value)
        drawn = self.noise.draw(draw.name, draw.fn)  # read on the CPU: no device is waited for
        for k, row in enumerate([drawn.tolist()] if self.trials is None else drawn.tolist()):
            for names, on in zip(draw.parameters, row, strict=True):
                self.inactive += [] if on else [(k, name) for name in names]
        return drawn.to(draw.eval_value)


def _callable(module: nn.Module, tensors: Mapping[str, Tensor]) -> Callable[..., Any]:
    return lambda *args: torch.func.functional_call(module, dict(tensors), args)


def _flat_tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value
    return [tensor for part in parts for tensor in _flat_tensors(part)]
