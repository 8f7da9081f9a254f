"""An adapter resolved for one step: what a tower asks at each site.

Shapes: rows are (N, width), or (K, N, width) once a trial axis is there; N = n * length. The axis
appears where the first trial-dependent site is met, so everything before is computed once for all
trials. Low-rank paths of one site become a single pair of products; above a measured rank they
are folded into the weight instead, by rank and not by method.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.kit.binding import low_rank_kernels
from methods.kit.binding.linear import FOLD_ABOVE, Rows, cut, low_rank, plain_linear, rowwise
from methods.kit.binding.low_rank_kernels import Layout
from methods.kit.binding.randomness import Noise
from methods.kit.binding.wiring import Add, Attached, Call, Draw, Ref, Wiring
from methods.kit.core.clip import Key


class BoundAdapter:
    """One step's view of an adapter: owned and derived tensors, applied at sites."""

    def __init__(
        self,
        wiring: Wiring,
        values: Mapping[str, Tensor],
        trials: int | None = None,
        noise: Noise | None = None,
        watch: bool = False,
    ) -> None:
        self.wiring = wiring
        self._watched = [r for r in wiring.reports if r.key is not None] if watch else []
        self._seen: dict[tuple[str, str], list[Tensor]] = {}
        self.trials = trials
        self.noise = noise
        self._owned = values
        self._values: dict[str, Any] = dict(values)
        self._fused: dict[tuple[Key, float | None], tuple[Tensor, Tensor]] = {}
        self._merged: dict[Key, Tensor] = {}  # without gradients
        self.inactive: list[
            tuple[int, str]
        ] = []  # (trial, parameter) that do not move in this step
        for draw in wiring.draws.values():
            self._values[draw.name] = self._drawn(draw)
        for d in wiring.derived:
            self._values[d.name] = self._call(d.fn, (), d.refs)

    def next_pass(self) -> "BoundAdapter":
        """The same with all that is random drawn anew, for one more pass over the batch."""
        noise = self.noise and self.noise.next_pass()
        return BoundAdapter(self.wiring, self._owned, self.trials, noise)

    # --- what a tower asks -------------------------------------------------------------------

    def at(self, key: Key) -> Attached | None:
        return self.wiring.sites.get(key)

    def before(self, key: Key, x: Tensor, n: int) -> Tensor:
        """The input of a site as the method wants it; ``n`` sequences share the rows."""
        attached = self.at(key)
        for call in attached.before if attached else ():
            x = _flat(self._call(call.fn, ((_seq(x, n, call), x.dim() == 3),), call.refs), call)
        return x

    def after(self, key: Key, x: Tensor, y: Tensor, n: int) -> Tensor:
        """The output of a site as the method wants it."""
        attached = self.at(key)
        for report in self._watched:
            if report.key == key:
                args = ((x, x.dim() == 3), (y, y.dim() == 3))
                seen = self._call(report.fn, args, report.refs)
                self._seen.setdefault((report.table, report.row), []).append(seen.float())
        for call in attached.after if attached else ():
            args = ((_seq(x, n, call), x.dim() == 3), (_seq(y, n, call), y.dim() == 3))
            y = _flat(self._call(call.fn, args, call.refs), call)
        return y

    def tensor(self, key: Key, frozen: Tensor, part: str = "weight") -> Tensor:
        """A frozen tensor after ``reweight``, with a trial axis where it differs by trial."""
        attached = self.at(key)
        value = frozen
        for call in (attached.weight if part == "weight" else attached.bias) if attached else ():
            value = self._reweighted(call, value, frozen.dim())
        return value

    def linear(
        self, key: Key, x: Tensor, weight: Tensor, bias: Tensor | None, rows: Rows | None = None
    ) -> Tensor:
        """y = W x + b with everything that hangs there; ``rows`` restricts the output rows."""
        attached = self.at(key)
        if attached is None:
            return plain_linear(x, cut(weight, rows, 2), cut(bias, rows, 1))
        w, b = self.tensor(key, weight), None if bias is None else self.tensor(key, bias, "bias")
        if not attached.adds:
            return plain_linear(x, cut(w, rows, 2), cut(b, rows, 1))
        if self.noise is not None and any(a.dropout for a in attached.adds):
            w, b, rate = cut(w, rows, 2), cut(b, rows, 1), attached.adds[0].dropout
            if all(a.dropout == rate for a in attached.adds):
                down, up = self._fuse(key, attached.adds, weight, rate)
                up = cut(up, rows, 2)
                if low_rank_kernels.fits(x, w, b, down, up):
                    return low_rank_kernels.linear(x, w, b, down, up, self._mask(key, x, rate))
            return self._with_dropout(key, attached.adds, x, plain_linear(x, w, b), weight, rows)
        down, up = self._fuse(key, attached.adds, weight)
        if down.shape[-2] > FOLD_ABOVE * min(weight.shape):
            return plain_linear(x, cut(w + up @ down, rows, 2), cut(b, rows, 1))
        if self._merges(x, weight):
            if key not in self._merged:
                self._merged[key] = w + up @ down
            return plain_linear(x, cut(self._merged[key], rows, 2), cut(b, rows, 1))
        w, b, up = cut(w, rows, 2), cut(b, rows, 1), cut(up, rows, 2)
        if low_rank_kernels.fits(x, w, b, down, up):
            return low_rank_kernels.linear(x, w, b, down, up)
        return low_rank(plain_linear(x, w, b), x, down, up)

    def beside(self, key: Key, x: Tensor, y: Tensor, weight: Tensor, rows: Rows | None) -> Tensor:
        """y with the low-rank paths of a site, whatever their rank."""
        attached = self.at(key)
        if attached is None or not attached.adds:
            return y
        if self.noise is not None and any(a.dropout for a in attached.adds):
            return self._with_dropout(key, attached.adds, x, y, weight, rows)
        down, up = self._fuse(key, attached.adds, weight)
        return low_rank(y, x, down, cut(up, rows, 2))

    def pair(self, key: Key, weight: Tensor) -> tuple[Tensor, Tensor] | None:
        """All low-rank paths of a site as one: down (R, in), up (out, R); None without any."""
        attached = self.at(key)
        return self._fuse(key, attached.adds, weight) if attached and attached.adds else None

    def norm(
        self, key: Key, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        """LayerNorm over the last axis, with weights the method may have changed."""
        w = None if weight is None else self.tensor(key, weight)
        b = None if bias is None else self.tensor(key, bias, "bias")
        if (w is None or w.dim() == 1) and (b is None or b.dim() == 1):
            return F.layer_norm(x, x.shape[-1:], w, b, eps)
        y = F.layer_norm(x, x.shape[-1:], None, None, eps)
        y = y if w is None else y * rowwise(w)
        return y if b is None else y + rowwise(b)

    def folded(self, key: Key, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with everything foldable written into them, out of place."""
        w, b = self.tensor(key, weight), None if bias is None else self.tensor(key, bias, "bias")
        attached = self.at(key)
        if attached and attached.adds:
            down, up = self._fuse(key, attached.adds, weight)
            w = w + up @ down
        return w, b

    def update(self, key: Key, shape: tuple[int, ...]) -> Tensor | None:
        """What the low-rank paths of a site add to its weight (out, in); None without any."""
        attached = self.at(key)
        if attached is None or not attached.adds:
            return None
        down, up = low_rank_kernels.pair(
            *self._parts(attached.adds), Layout.of(attached.adds), shape[0]
        )
        return up @ down

    def value(self, name: str) -> Tensor:
        """An owned tensor."""
        tensor: Tensor = self._values[name]
        return tensor

    def tensors(self, refs: Sequence[Ref]) -> list[Tensor]:
        """Owned and derived tensors as functions see them."""
        return [self._get(ref) for ref in refs]

    def score(self, image: Tensor, text: Tensor, scale: Tensor, known: bool = True) -> Tensor:
        """Logits (n, classes); ``known``: the classes are those the adapter was attached for."""
        call = self.wiring.score
        if call is None or (not known and any(r.name.startswith("head") for r in call.refs)):
            return (scale[:, None, None] if scale.dim() else scale) * (image @ text.mT)
        args = ((image, image.dim() == 3), (text, text.dim() == 3), (scale, scale.dim() == 1))
        return self._call(call.fn, args, call.refs)

    def penalty(self, step: Any) -> Tensor | None:
        """The sum of what the method adds to the loss, or None; without terms that stand alone.

        A number, or (trials,).
        """
        total: Tensor | None = None
        for call in self.wiring.penalties:
            if not call.exclusive:
                value = self._term(call, step)
                total = value if total is None else total + value
        return total

    def exclusive_penalties(self, step: Any) -> list[tuple[slice, tuple[str, ...], Tensor]]:
        """Terms that train some parameters by themselves: whose, their names, and the term."""
        everyone = slice(0, self.trials or 1)
        return [
            (everyone, call.exclusive, self._term(call, step))
            for call in self.wiring.penalties
            if call.exclusive
        ]

    def tables(self) -> dict[str, dict[str, dict[str, float]]]:
        """What the method reports: table, row, column, number. Rows that saw nothing are left out.

        Sites are averaged over all that passed since this was bound with ``watch``.
        """
        found: dict[str, dict[str, dict[str, float]]] = {}
        for report in self.wiring.reports:
            if report.key is None:
                numbers = self._call(report.fn, (), report.refs)
            elif (report.table, report.row) in self._seen:
                numbers = torch.cat(self._seen[report.table, report.row]).mean(0)
            else:
                continue
            row = dict(zip(report.columns, numbers.tolist(), strict=True))
            found.setdefault(report.table, {})[report.row] = row
        return found

    def used(self) -> list[Tensor]:
        """The distinct tensors that stay in the computation after everything is folded."""
        calls = [c for h in self.wiring.sites.values() for c in (*h.before, *h.after)]
        if self.wiring.score:
            calls.append(self.wiring.score)
        kept: dict[tuple[str, tuple[int, ...]], Any] = {}
        refs = (ref for call in calls for ref in call.refs if ref.name not in self.wiring.draws)
        for ref in refs:
            if not any((ref.name, ref.index[:i]) in kept for i in range(len(ref.index))):
                kept[ref.name, ref.index] = self._get(ref)
        return [leaf for value in kept.values() for leaf in _leaves(value)]

    # --- how it is done ----------------------------------------------------------------------

    def _term(self, call: Call, step: Any) -> Tensor:
        """A term of the loss: a number, or (trials,)."""
        if self.trials is None:
            return self._call(call.fn, ((step, False),), call.refs)
        parts = step.parts()

        def fn(*given: Any) -> Any:
            return call.fn(step.like(given[: len(parts)]), *given[len(parts) :])

        value: Tensor = self._call(fn, parts, call.refs)
        return value.expand(self.trials)

    def _drawn(self, draw: Draw) -> Tensor:
        if self.noise is None:
            return (
                draw.eval_value
                if self.trials is None
                else draw.eval_value.expand(self.trials, *draw.eval_value.shape)
            )
        if not draw.parameters:
            return self.noise.draw_like(draw.name, draw.fn, draw.eval_value)
        drawn = self.noise.draw(draw.name, draw.fn)  # on the CPU: reading it waits for no device
        rows = [drawn.tolist()] if self.trials is None else drawn.tolist()
        for k, row in enumerate(rows):
            for names, on in zip(draw.parameters, row, strict=True):
                self.inactive += [] if on else [(k, name) for name in names]
        return drawn.to(draw.eval_value)

    def _get(self, ref: Ref) -> Any:
        """A tensor, or for a module the dict of its tensors; a trial axis leads if there is one."""
        if ref.name in self.wiring.modules:
            start = ref.name + "."
            return {n[len(start) :]: v for n, v in self._values.items() if n.startswith(start)}
        value = self._values[ref.name]
        for i in ref.index:
            inside = isinstance(value, tuple) or self.trials is None
            value = value[i] if inside else value[:, i]
        return value

    def _call(
        self, fn: Callable[..., Any], args: Sequence[tuple[Any, bool]], refs: Sequence[Ref]
    ) -> Any:
        """fn(*args, *tensors), vmapped over trials; each argument says whether it has the axis."""
        modules = [self.wiring.modules.get(ref.name) for ref in refs]

        def whole(*given: Any) -> Any:
            own = zip(modules, given[len(args) :], strict=True)
            return fn(*given[: len(args)], *(t if m is None else _callable(m, t) for m, t in own))

        values = [value for value, _ in args] + [self._get(ref) for ref in refs]
        axes = tuple(0 if lifted else None for _, lifted in args) + (0,) * len(refs)
        if self.trials is None or 0 not in axes:
            return whole(*values)
        return torch.vmap(whole, in_dims=axes)(*values)

    def _reweighted(self, call: Call, value: Tensor, base: int) -> Tensor:
        lifted = value.dim() > base
        if call.rows is None:
            return self._call(call.fn, ((value, lifted),), call.refs)
        axis, (start, stop) = (1 if lifted else 0), call.rows
        part = value.narrow(axis, start, stop - start)
        new = self._call(call.fn, ((part, lifted),), call.refs)
        if new.dim() > value.dim():
            value, axis = value.expand(len(new), *value.shape), 1
        end = value.shape[axis]
        return torch.cat(
            (value.narrow(axis, 0, start), new, value.narrow(axis, stop, end - stop)), axis
        )

    def _fuse(
        self, key: Key, adds: Sequence[Add], weight: Tensor, rate: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """All low-rank paths of a site as one pair: down (R, in), up (out, R), scale inside.

        Paths with one ``down`` (q, k and v of a ring over layers and sites) share its product. With
        ``rate`` those of this dropout alone. Sites that are alike are done together.
        """
        if (key, rate) not in self._fused:
            layout = Layout.of(adds)
            alike = {k: a for k, a in self._paths(key, rate) if Layout.of(a) == layout}
            downs, ups = zip(*(self._parts(a) for a in alike.values()), strict=True)
            made = low_rank_kernels.pairs(downs, ups, layout, weight.shape[0])
            self._fused.update({(k, rate): pair for k, pair in zip(alike, made, strict=True)})
        return self._fused[key, rate]

    def _merges(self, x: Tensor, weight: Tensor) -> bool:
        """Whether a weight with its paths inside, made once, is less work than they beside it."""
        rows = x.shape[-2]
        still = self.trials is None and not torch.is_grad_enabled()
        return still and rows * sum(weight.shape) > weight.numel()

    def _parts(self, adds: Sequence[Add]) -> tuple[list[Tensor], list[Tensor]]:
        """The distinct ``down`` of some paths, and the ``up`` of each."""
        downs = dict.fromkeys(a.down for a in adds)
        return [self._get(down) for down in downs], [self._get(a.up) for a in adds]

    def _paths(self, key: Key, rate: float | None) -> Iterator[tuple[Key, list[Add]]]:
        """The low-rank paths of each block of a tower at sites of this name."""
        for other, attached in self.wiring.sites.items():
            if (other[0], other[2]) == (key[0], key[2]) and attached.adds:
                yield other, [a for a in attached.adds if rate is None or a.dropout == rate]

    def _with_dropout(
        self, key: Key, adds: Sequence[Add], x: Tensor, y: Tensor, weight: Tensor, rows: Rows | None
    ) -> Tensor:
        for rate in sorted({a.dropout for a in adds}):
            pair = self._fuse(key, [a for a in adds if a.dropout == rate], weight, rate)
            seen = x * self._mask(key, x, rate) if rate else x
            y = low_rank(y, seen, pair[0], cut(pair[1], rows, 2))
        return y

    def _mask(self, key: Key, x: Tensor, rate: float) -> Tensor:
        """What the low-rank paths of a site with this dropout see of its input: 0 or more of it."""
        assert self.noise is not None
        return self.noise.dropout((*key, rate), x.shape[-2:], rate).to(x.dtype)


def _seq(x: Tensor, n: int, call: Call) -> Tensor:
    return x.unflatten(-2, (n, -1)) if call.sequence else x


def _flat(y: Any, call: Call) -> Tensor:
    return y.flatten(-3, -2) if call.sequence else y


def _callable(module: nn.Module, tensors: Mapping[str, Tensor]) -> Callable[..., Any]:
    return lambda *args: torch.func.functional_call(module, dict(tensors), args)


def _leaves(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value
    return [leaf for part in parts for leaf in _leaves(part)]
