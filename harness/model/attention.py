"""Multi-head attention over rows, by the faster of two kernels."""

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    n: int,
    heads: int,
    causal: bool,
    ends: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Attend over rows: q (..., n * Lq, width), k and v (..., n * L, width).

    With ``ends`` (n,) there is one query per sequence, at that position. ``bias`` (L, L), with or
    without a leading trial axis, is added to the scores of every head; only if not causal.
    """
    if q.dim() < k.dim():
        q = q.expand(len(k), *q.shape)
    elif k.dim() < q.dim():
        k, v = k.expand(len(q), *k.shape), v.expand(len(q), *v.shape)
    if bias is not None and bias.dim() == 3 and q.dim() == 2:
        q, k, v = (t.expand(len(bias), *t.shape) for t in (q, k, v))
    lead = k.shape[:-2]
    q, k, v = (_heads(t, n, heads) for t in (q, k, v))
    mask = None
    if causal and ends is not None:
        mask = torch.arange(k.shape[1], device=k.device) <= ends[:, None]  # (n, L)
        mask = mask.repeat(k.shape[0] // n, 1)[:, None, None, :]
    if bias is not None:
        mask = _bias_of_queries(bias, n, ends)
    y = _attend(q, k, v, mask, causal and ends is None, bias is not None)
    return y.reshape(*lead, -1, heads * q.shape[-1])


def attend_packed(qkv: Tensor, n: int, heads: int, causal: bool) -> Tensor:
    """As :func:`attend`, from q, k and v side by side (..., n * L, 3 width), for all queries.

    Split like this, their gradients are joined in one copy.
    """
    lead, width = qkv.shape[:-2], qkv.shape[-1] // 3
    q, k, v = _heads(qkv, n, 3 * heads).unflatten(2, (3, heads)).unbind(2)
    return _attend(q, k, v, None, causal).reshape(*lead, -1, width)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, biased: bool = False
) -> Tensor:
    """All are (B, L, heads, head width). ``biased``: the mask is added to the scores."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    if q.device.type == "cpu" and (q.dtype != torch.float32 or biased):  # slow when fused
        y = _explicit(q, k, v, mask, causal)
    else:
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
    return y.transpose(1, 2)


def _explicit(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Two products and a softmax: in bf16 on a CPU 2 to 10 times as fast as the fused kernel
    (tests/benchmarks/attention.py)."""
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, float("-inf"))
    elif mask is not None:
        scores = scores + mask
    return scores.softmax(-1) @ v


def _bias_of_queries(bias: Tensor, n: int, ends: Tensor | None) -> Tensor:
    """Broadcast to scores (B, heads, Lq, L), with the rows of the queries if those are few."""
    if ends is not None:
        rows = bias[..., ends, :].unsqueeze(-2)  # (n, 1, L), or with trials in front
        return rows.flatten(0, -3).unsqueeze(1)
    return bias if bias.dim() == 2 else bias.repeat_interleave(n, 0).unsqueeze(1)


def _heads(x: Tensor, n: int, heads: int) -> Tensor:
    """(..., n * L, width) -> (B, L, heads, head width) with B = n times the trials."""
    trials = x.shape[0] if x.dim() == 3 else 1
    return x.reshape(trials * n, -1, heads, x.shape[-1] // heads)
