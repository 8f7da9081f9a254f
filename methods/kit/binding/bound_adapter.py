"""An adapter bound to the tensors of one step: what a tower calls at each site.

Rows are (N, width), or (K, N, width) with a trial axis; N = n * length. The axis appears at the
first site that depends on the trial, so everything before it is computed once for all trials. The
low-rank paths of a site run as one pair of products; above a measured rank they are folded into
the weight instead, by rank and not by method.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.kit.binding import low_rank_kernels
from methods.kit.binding.linear import FOLD_ABOVE, Rows, cut, low_rank, plain_linear, rowwise
from methods.kit.binding.low_rank_paths import LowRankPaths
from methods.kit.binding.randomness import Noise
from methods.kit.binding.wiring import Call, Ref, Wiring
from methods.kit.core.clip import Key

Tables = dict[str, dict[str, dict[str, float]]]  # table, row, column


class BoundAdapter(LowRankPaths):
    """One step's view of an adapter, applied at sites."""

    def __init__(
        self,
        wiring: Wiring,
        values: Mapping[str, Tensor],
        trials: int | None = None,
        noise: Noise | None = None,
        collect_reports: bool = False,
    ) -> None:
        super().__init__(wiring, values, trials, noise)
        self._reports = [r for r in wiring.reports if r.key is not None] if collect_reports else []
        self._reported: dict[tuple[str, str], list[Tensor]] = {}
        self._merged: dict[Key, Tensor] = {}  # without gradients

    def next_pass(self) -> "BoundAdapter":
        """Return the same adapter with new random draws, for one more pass over the batch."""
        noise = self.noise and self.noise.next_pass()
        return BoundAdapter(self.wiring, self._owned, self.trials, noise)

    # --- activations -------------------------------------------------------------------------

    def before(self, key: Key, x: Tensor, n: int) -> Tensor:
        """Apply what is attached to the input of a site; ``n`` sequences share the rows."""
        site = self.at(key)
        for call in site.before if site else ():
            x = self._apply(call, (x,), n)
        return x

    def after(self, key: Key, x: Tensor, y: Tensor, n: int) -> Tensor:
        """Apply what is attached to the output of a site."""
        for report in self._reports:
            if report.key == key:
                args = ((x, x.dim() == 3), (y, y.dim() == 3))
                value = self.call(report.fn, args, report.refs)
                self._reported.setdefault((report.table, report.row), []).append(value.float())
        site = self.at(key)
        for call in site.after if site else ():
            y = self._apply(call, (x, y), n)
        return y

    def _apply(self, call: Call, tensors: Sequence[Tensor], n: int) -> Tensor:
        args = [(t.unflatten(-2, (n, -1)) if call.sequence else t, t.dim() == 3) for t in tensors]
        result: Tensor = self.call(call.fn, args, call.refs)
        return result.flatten(-3, -2) if call.sequence else result

    # --- weights -----------------------------------------------------------------------------

    def tensor(self, key: Key, frozen: Tensor, part: str = "weight") -> Tensor:
        """Return a frozen tensor after ``reweight``, with a trial axis where trials differ."""
        site = self.at(key)
        value = frozen
        for call in getattr(site, part) if site else ():
            value = self._reweighted(call, value, frozen.dim())
        return value

    def linear(
        self, key: Key, x: Tensor, weight: Tensor, bias: Tensor | None, rows: Rows | None = None
    ) -> Tensor:
        """Return W x + b with everything attached; ``rows`` selects output rows."""
        site = self.at(key)
        whole, b = self._weights(key, weight, bias)
        w, b = cut(whole, rows, 2), cut(b, rows, 1)
        if site is None or not site.adds:
            return plain_linear(x, w, b)
        out, rate = len(weight), site.adds[0].dropout
        if self.noise is not None and any(a.dropout for a in site.adds):
            if all(a.dropout == rate for a in site.adds):
                down, up = self._fuse(key, out, rate)
                up = cut(up, rows, 2)
                if low_rank_kernels.fits(x, w, b, down, up):
                    return low_rank_kernels.linear(x, w, b, down, up, self._mask(key, x, rate))
            return self.add_low_rank(key, x, plain_linear(x, w, b), out, rows)
        down, up = self._fuse(key, out)
        if down.shape[-2] > FOLD_ABOVE * min(weight.shape):
            return plain_linear(x, cut(whole + up @ down, rows, 2), b)
        if self._merging_pays(x, weight):
            if key not in self._merged:
                self._merged[key] = whole + up @ down
            return plain_linear(x, cut(self._merged[key], rows, 2), b)
        up = cut(up, rows, 2)
        if low_rank_kernels.fits(x, w, b, down, up):
            return low_rank_kernels.linear(x, w, b, down, up)
        return low_rank(plain_linear(x, w, b), x, down, up)

    def _merging_pays(self, x: Tensor, weight: Tensor) -> bool:
        """Whether merging the paths into the weight costs less than applying them separately."""
        evaluating = self.trials is None and not torch.is_grad_enabled()
        return evaluating and x.shape[-2] * sum(weight.shape) > weight.numel()

    def norm(
        self, key: Key, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        """Apply LayerNorm over the last axis, with weights after ``reweight``."""
        w = None if weight is None else self.tensor(key, weight)
        b = None if bias is None else self.tensor(key, bias, "bias")
        if (w is None or w.dim() == 1) and (b is None or b.dim() == 1):
            return F.layer_norm(x, x.shape[-1:], w, b, eps)
        y = F.layer_norm(x, x.shape[-1:], None, None, eps)
        y = y if w is None else y * rowwise(w)
        return y if b is None else y + rowwise(b)

    def folded(self, key: Key, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias with everything foldable merged into them, out of place."""
        w, b = self._weights(key, weight, bias)
        site = self.at(key)
        if site and site.adds:
            down, up = self._fuse(key, len(weight))
            w = w + up @ down
        return w, b

    def _weights(
        self, key: Key, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        return self.tensor(key, weight), None if bias is None else self.tensor(key, bias, "bias")

    def _reweighted(self, call: Call, value: Tensor, base: int) -> Tensor:
        lifted = value.dim() > base
        if call.rows is None:
            whole: Tensor = self.call(call.fn, ((value, lifted),), call.refs)
            return whole
        axis, (start, stop) = (1 if lifted else 0), call.rows
        part = value.narrow(axis, start, stop - start)
        new = self.call(call.fn, ((part, lifted),), call.refs)
        if new.dim() > value.dim():
            value, axis = value.expand(len(new), *value.shape), 1
        end = value.shape[axis]
        return torch.cat(
            (value.narrow(axis, 0, start), new, value.narrow(axis, stop, end - stop)), axis
        )

    # --- score, loss, reports ----------------------------------------------------------------

    def score(self, image: Tensor, text: Tensor, scale: Tensor, known: bool = True) -> Tensor:
        """Return logits (n, classes). ``known``: the classes are those of the adapter's task."""
        call = self.wiring.score
        if call is None or (not known and any(r.name.startswith("head") for r in call.refs)):
            return (scale[:, None, None] if scale.dim() else scale) * (image @ text.mT)
        args = ((image, image.dim() == 3), (text, text.dim() == 3), (scale, scale.dim() == 1))
        logits: Tensor = self.call(call.fn, args, call.refs)
        return logits

    def penalty(self, step: Any) -> Tensor | None:
        """Return the sum of the penalties that are not exclusive: a number, or (trials,)."""
        total: Tensor | None = None
        for call in self.wiring.penalties:
            if not call.exclusive:
                value = self._term(call, step)
                total = value if total is None else total + value
        return total

    def exclusive_penalties(self, step: Any) -> list[tuple[slice, tuple[str, ...], Tensor]]:
        """Return (trials, parameter names, penalty) of each exclusive penalty."""
        trials = slice(0, self.trials or 1)
        calls = [call for call in self.wiring.penalties if call.exclusive]
        return [(trials, call.exclusive, self._term(call, step)) for call in calls]

    def _term(self, call: Call, step: Any) -> Tensor:
        """Return a penalty: a number, or (trials,)."""
        if self.trials is None:
            term: Tensor = self.call(call.fn, ((step, False),), call.refs)
            return term
        parts = step.parts()

        def fn(*given: Any) -> Any:
            return call.fn(step.like(given[: len(parts)]), *given[len(parts) :])

        value: Tensor = self.call(fn, parts, call.refs)
        return value.expand(self.trials)

    def tables(self) -> Tables:
        """Return the method's reports: table, row, column, number.

        Reports at sites are averaged over all rows since binding with ``collect_reports``; those
        that saw none are left out.
        """
        found: Tables = {}
        for report in self.wiring.reports:
            if report.key is None:
                numbers = self.call(report.fn, (), report.refs)
            elif (report.table, report.row) in self._reported:
                numbers = torch.cat(self._reported[report.table, report.row]).mean(0)
            else:
                continue
            row = dict(zip(report.columns, numbers.tolist(), strict=True))
            found.setdefault(report.table, {})[report.row] = row
        return found

    def tensors(self, refs: Sequence[Ref]) -> list[Tensor]:
        """Return owned and derived tensors as functions receive them."""
        return [self.get(ref) for ref in refs]
