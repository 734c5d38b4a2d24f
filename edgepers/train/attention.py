"""Causal attention within each of the sets that stand end to end.

transformers' layers call it, and look it up by name.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from edgepers.train.varlen import attend_together, can_attend_together

__all__ = ["NAME", "packed_attention"]

_STEP = 32
NAME = "edgepers_packed"  # among the attention functions of transformers


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    set_lengths: Sequence[int],
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend from query [1, H, T, d] to key and value [1, G, T, d], giving [1, T, H, d].

    T is at least the sum of set_lengths; rows beyond it are 0.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    window = sliding_window or query.shape[2]
    plain = softcap is None and not dropout
    if plain and query.device.type in ("cpu", "meta") and max(set_lengths) <= window:
        together: Tensor = _PerSet.apply(query, key, value, tuple(set_lengths), scale)  # type: ignore[no-untyped-call]
        return together.transpose(1, 2), None
    if plain and can_attend_together(query):
        return attend_together(query, key, value, set_lengths, scale=scale, window=window), None
    out: list[Tensor] = []
    real = slice(0, sum(set_lengths))
    for q, k, v in zip(*(x[:, :, real].split(list(set_lengths), 2) for x in (query, key, value)), strict=True):
        if plain and q.shape[2] <= window:
            out.append(
                F.scaled_dot_product_attention(
                    q, k, v, is_causal=True, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
                )
            )
        else:
            out.append(_attend(q, k, v, scale, dropout, window, softcap))
    return F.pad(torch.cat(out, 2), (0, 0, 0, query.shape[2] - sum(set_lengths))).transpose(1, 2), None


class _PerSet(torch.autograd.Function):
    """Plain products, set by set: on a CPU several times faster than the fused kernel's backward pass at these lengths.

    Shares of attention are kept for the backward pass: H x n numbers a token of a set of n tokens. n is rounded up to a
    multiple of `_STEP`, into the rows of the next set, which a causal mask hides: oneDNN makes, and keeps, code for
    every new shape.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], scale: float) -> Tensor:  # noqa: PLR0917
        _, heads, total, width = query.shape
        groups = key.shape[1]
        out = query.new_empty(1, total, heads, width).transpose(1, 2)
        kept: list[Tensor] = []
        start = 0
        for n in lengths:
            rows = _rows(n, start, total)
            here = slice(start, start + rows)
            q = query[0, :, here].reshape(groups, -1, width)
            scores = torch.bmm(q, key[0, :, here].transpose(1, 2)).mul_(scale).view(heads, rows, rows)
            shares = scores.masked_fill_(_future(rows, query.device), float("-inf")).softmax(-1)
            shares[:, n:] = 0  # the next set's rows
            shares = shares.view(groups, -1, rows)
            out[0, :, start : start + n] = torch.bmm(shares, value[0, :, here]).view(heads, rows, width)[:, :n]
            kept.append(shares)
            start += n
        out[0, :, start:] = 0
        ctx.scale, ctx.lengths = scale, lengths
        ctx.save_for_backward(query, key, value, *kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        query, key, value, *kept = ctx.saved_tensors
        heads, width, groups = query.shape[1], query.shape[3], key.shape[1]
        gq, gk, gv = (torch.empty_like(x) for x in (query, key, value))
        start = 0
        for n, shares in zip(ctx.lengths, kept, strict=True):
            rows = shares.shape[2]
            here, own = slice(start, start + rows), slice(start, start + n)
            q, g = (x[0, :, here].reshape(groups, -1, width) for x in (query, gradient))
            gv[0, :, own] = torch.bmm(shares.transpose(1, 2), g)[:, :n]
            gs = torch.bmm(g, value[0, :, here].transpose(1, 2))
            gs = torch._softmax_backward_data(gs, shares, -1, shares.dtype).mul_(ctx.scale)
            gq[0, :, own] = torch.bmm(gs, key[0, :, here]).view(heads, rows, width)[:, :n]
            gk[0, :, own] = torch.bmm(gs.transpose(1, 2), q)[:, :n]
            start += n
        for x in (gq, gk, gv):
            x[0, :, start:] = 0
        return gq, gk, gv, None, None


def _rows(n: int, start: int, total: int) -> int:
    rounded = -(-n // _STEP) * _STEP
    return rounded if start + rounded <= total else n


def _future(n: int, device: torch.device) -> Tensor:
    return torch.ones(n, n, dtype=torch.bool, device=device).triu_(1)


def _attend(  # noqa: PLR0917
    q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float, window: int, softcap: float | None
) -> Tensor:
    """Attend within one set, all its scores at once.

    That serves windows shorter than the set, dropout, and scores bounded by softcap x tanh(score / softcap).
    """
    repeats = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
    scores = q @ k.transpose(2, 3) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    seen = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).tril().triu(1 - window)
    shares = scores.masked_fill(~seen, float("-inf")).softmax(-1, dtype=torch.float32).to(q.dtype)
    return F.dropout(shares, dropout) @ v
