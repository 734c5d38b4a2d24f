"""Argument checks that the ops share.

Shapes, dtypes and devices are checked before the dispatcher, values (offsets, domains) inside every implementation: a
compiled graph then carries no data-dependent branch, and no implementation runs unchecked.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from edgepers.config import ENTROPIES
from edgepers.errors import ShapeError

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
NUMBERS = (*FLOATS, torch.float64, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def check_matrix(
    op: str,
    name: str,
    value: Any,
    width: int | None = None,
    *,
    like: Tensor | None = None,
    dtypes: tuple[torch.dtype, ...] = FLOATS,
) -> None:
    """Refuse anything but a [rows, features] tensor of one of `dtypes`.

    Where given, it must have `width` features and lie on the device of `like`.
    """
    _check(op, name, value, 2, dtypes)
    if width is not None and value.shape[1] != width:
        raise ShapeError(
            f"{op}: {name} has {value.shape[1]} features where {width} are needed; use one encoder for both"
        )
    if like is not None:
        _check_device(op, name, value, like)


def check_vector(op: str, name: str, value: Any, length: int, dtypes: tuple[torch.dtype, ...], *, like: Tensor) -> None:
    """Refuse anything but a [length] tensor of one of `dtypes` on the device of `like`."""
    _check(op, name, value, 1, dtypes)
    if value.shape[0] != length:
        raise ShapeError(f"{op}: {name} holds {value.shape[0]} values where {length} are needed; pass one for each")
    _check_device(op, name, value, like)


def check_ragged(op: str, hidden: Any, offsets: Any, center: Any, kind: Any = "windowed") -> None:
    """Refuse a ragged batch of the wrong form; `check_offsets` sees to its values."""
    check_matrix(op, "hidden", hidden)
    _check(op, "offsets", offsets, 1, (torch.int32, torch.int64))
    if offsets.shape[0] == 0:
        raise ShapeError(f"{op}: offsets is empty; an empty batch has offsets [0]")
    if kind not in ENTROPIES:
        raise ShapeError(f"{op}: kind is {kind!r}; use one of {', '.join(ENTROPIES)}")
    if center is None:
        return
    check_vector(op, "center", center, hidden.shape[1], FLOATS, like=hidden)
    if kind == "histogram":
        raise ShapeError(
            f"{op}: kind 'histogram' reads rows as they are and got a center; leave it out (mean_unit_embedding takes"
            " it)"
        )


def check_offsets(op: str, hidden: Tensor, offsets: Tensor) -> list[int]:
    """Return the offsets as a list; refuse those that do not cut `hidden` into non-empty sets.

    Args:
        op: name for the message.
        hidden: [N, d].
        offsets: [B + 1] int64 on the CPU.
    """
    ends: list[int] = offsets.tolist()
    if ends[0] != 0:
        raise ShapeError(f"{op}: offsets starts at {ends[0]}; it must start at 0")
    if ends[-1] != hidden.shape[0]:
        raise ShapeError(f"{op}: offsets ends at {ends[-1]} but hidden has {hidden.shape[0]} rows; make them equal")
    for position, (start, end) in enumerate(pairwise(ends)):
        if end <= start:
            raise ShapeError(
                f"{op}: set {position} spans rows {start} to {end}; drop empty sets, offsets must strictly increase"
            )
    return ends


def _check(op: str, name: str, value: Any, rank: int, dtypes: tuple[torch.dtype, ...]) -> None:
    seen = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    if not isinstance(value, Tensor) or value.ndim != rank or value.dtype not in dtypes:
        wanted = (
            "float or integer"
            if dtypes == NUMBERS
            else " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        )
        raise ShapeError(f"{op}: {name} is {seen}; pass a {rank}-dimensional {wanted} tensor")


def _check_device(op: str, name: str, value: Tensor, like: Tensor) -> None:
    if value.device != like.device:
        raise ShapeError(f"{op}: {name} is on {value.device}, the first argument on {like.device}; move it there")
