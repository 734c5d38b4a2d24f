"""Causal attention within each of the sets that stand end to end, and to the beginning that they may share.

transformers' layers call it, and look it up by name.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

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
    shared: int = 0,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend from query [1, H, T, d] to key and value [1, G, T, d], giving [1, T, H, d].

    The first `shared` rows are what all sets begin with; then come the sets' own rows, of `set_lengths`. T is at least
    the sum of both; rows beyond it are 0.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    window = sliding_window or query.shape[2]
    plain = softcap is None and not dropout
    if plain and query.device.type in ("cpu", "meta") and shared + max(set_lengths) <= window:
        layout = _layout(tuple(set_lengths), shared, query.shape[2], query.device)
        together: Tensor = _Plain.apply(query, key, value, layout, scale)  # type: ignore[no-untyped-call]
        return together.transpose(1, 2), None
    if plain and not shared and can_attend_together(query):
        return attend_together(query, key, value, set_lengths, scale=scale, window=window), None
    out: list[Tensor] = []
    start, lengths = shared, list(set_lengths)
    if shared:
        start, lengths = 0, [shared, *lengths]
    for n in lengths:
        q, k, v = (x[:, :, start : start + n] for x in (query, key, value))
        if start and shared:
            k, v = (torch.cat([x[:, :, :shared], part], 2) for x, part in ((key, k), (value, v)))
        if plain and k.shape[2] == n <= window:
            out.append(
                F.scaled_dot_product_attention(
                    q, k, v, is_causal=True, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
                )
            )
        else:
            out.append(_attend(q, k, v, scale, dropout, window, softcap))
        start += n
    return F.pad(torch.cat(out, 2), (0, 0, 0, query.shape[2] - start)).transpose(1, 2), None


class _Group(NamedTuple):
    """Sets of about the same length, attended from at once: n rows each, a multiple of `_STEP`.

    A shorter set's last rows are those of its neighbours, which a causal mask hides from its own.

    Attributes:
        rows: int64 [S * n], which of the T rows each takes.
        own: bool [S, n], the set's own.
        flat: int64 [m], where the own ones are among the S * n.
        hidden: bool [n, s + n], keys that a row does not see; the s shared ones come first.
        shared: s.
    """

    rows: Tensor
    own: Tensor
    flat: Tensor
    hidden: Tensor
    shared: int


@functools.lru_cache(maxsize=8)  # every layer of a micro-batch asks for the same
def _layout(lengths: tuple[int, ...], shared: int, total: int, device: torch.device) -> tuple[_Group, ...]:
    """Group the sets of a pack by length; what they share is a group of its own."""
    starts = [shared + sum(lengths[:i]) for i in range(len(lengths))]
    by_rows: dict[tuple[int, int], list[int]] = {}
    for i, n in enumerate(lengths):
        by_rows.setdefault((-(-n // _STEP) * _STEP, shared), []).append(i)
    groups = [_group([(starts[i], lengths[i]) for i in found], *key, total, device) for key, found in by_rows.items()]
    if shared:
        groups.append(_group([(0, shared)], -(-shared // _STEP) * _STEP, 0, total, device))
    return tuple(groups)


def _group(sets: Sequence[tuple[int, int]], rows: int, shared: int, total: int, device: torch.device) -> _Group:
    start = torch.tensor([start for start, _ in sets])[:, None]
    length = torch.tensor([length for _, length in sets])[:, None]
    at = torch.arange(rows)
    own = at < length
    hidden = torch.ones(rows, rows, dtype=torch.bool).triu_(1)
    return _Group(
        (start + at).clamp_(max=total - 1).flatten().to(device),
        own.to(device),
        own.flatten().nonzero()[:, 0].to(device),
        F.pad(hidden, (shared, 0)).to(device),
        shared,
    )


class _Plain(torch.autograd.Function):
    """Plain products: on a CPU several times faster than the fused kernel's backward pass at these lengths.

    Shares of attention are kept for the backward pass: H x (s + n) numbers a token of a set of n tokens after s shared
    ones. n is rounded up to a multiple of `_STEP`: oneDNN makes, and keeps, code for every new shape.
    """

    @staticmethod
    def forward(  # noqa: PLR0917
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: tuple[_Group, ...], scale: float
    ) -> Tensor:
        heads, groups = query.shape[1], key.shape[1]
        out = torch.zeros_like(query.transpose(1, 2))[0]  # [T, H, d]
        kept: list[Tensor] = []
        for part in layout:
            q = _rows(query, part, groups)
            scores = torch.bmm(q, _keys(key, part).transpose(1, 2)).mul_(scale)
            scores = scores.view(groups, len(part.own), heads // groups, *part.hidden.shape)
            shares = scores.masked_fill_(part.hidden, float("-inf")).softmax(-1)
            shares.mul_(part.own[:, None, :, None])  # no row of another set
            shares = shares.view(len(q), -1, part.hidden.shape[1])
            _put(out, torch.bmm(shares, _keys(value, part)), part, groups)
            kept.append(shares)
        ctx.scale, ctx.layout = scale, layout
        ctx.save_for_backward(query, key, value, *kept)
        return out[None].transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        query, key, value, *kept = ctx.saved_tensors
        groups = key.shape[1]
        gq, gk, gv = (torch.zeros_like(x.transpose(1, 2))[0] for x in (query, key, value))
        for part, shares in zip(ctx.layout, kept, strict=True):
            q, g = _rows(query, part, groups), _rows(gradient, part, groups)
            _add(gv, torch.bmm(shares.transpose(1, 2), g), part, groups)
            gs = torch.bmm(g, _keys(value, part).transpose(1, 2))
            gs = torch._softmax_backward_data(gs, shares, -1, shares.dtype).mul_(ctx.scale)
            _put(gq, torch.bmm(gs, _keys(key, part)), part, groups)
            _add(gk, torch.bmm(gs.transpose(1, 2), q), part, groups)
        return (*(x[None].transpose(1, 2) for x in (gq, gk, gv)), None, None)


def _rows(x: Tensor, part: _Group, groups: int) -> Tensor:
    """[1, H, T, d] to [G * S, H / G * n, d]: the rows of a group's sets, by the key's heads."""
    sets, n = part.own.shape
    taken = x[0].index_select(1, part.rows).view(groups, -1, sets, n, x.shape[3])
    return taken.transpose(1, 2).reshape(groups * sets, -1, x.shape[3])


def _keys(x: Tensor, part: _Group) -> Tensor:
    """[1, G, T, d] to [G * S, s + n, d]: what a group's sets see, the shared rows before their own."""
    sets, n = part.own.shape
    groups, width = x.shape[1], x.shape[3]
    own = x[0].index_select(1, part.rows).view(groups, sets, n, width)
    if part.shared:
        first = x[0, :, None, : part.shared].expand(groups, sets, part.shared, width)
        own = torch.cat([first, own], 2)
    return own.reshape(groups * sets, -1, width)


def _put(out: Tensor, values: Tensor, part: _Group, groups: int) -> None:
    """Write [G * S, H / G * n, d] into the sets' own rows of [T, H, d]."""
    sets, n = part.own.shape
    by_row = values.view(groups, sets, -1, n, out.shape[2]).permute(1, 3, 0, 2, 4).reshape(sets * n, -1, out.shape[2])
    out.index_copy_(0, part.rows[part.flat], by_row[part.flat])


def _add(gradient: Tensor, values: Tensor, part: _Group, groups: int) -> None:
    """Add [G * S, s + n, d] to [T, G, d]: to the sets' own rows, and to the shared ones what all sets give them."""
    sets, n = part.own.shape
    width = gradient.shape[2]
    parts = values.view(groups, sets, -1, width)
    if part.shared:
        gradient[: part.shared] += parts[:, :, : part.shared].sum(1).transpose(0, 1)
    by_row = parts[:, :, part.shared :].permute(1, 2, 0, 3).reshape(sets * n, groups, width)
    gradient.index_add_(0, part.rows[part.flat], by_row[part.flat])


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
    before = k.shape[2] - q.shape[2]  # shared ones
    seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril(before).triu(before + 1 - window)
    shares = scores.masked_fill(~seen, float("-inf")).softmax(-1, dtype=torch.float32).to(q.dtype)
    return F.dropout(shares, dropout) @ v
