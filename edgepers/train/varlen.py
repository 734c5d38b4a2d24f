"""Attention of all sets of a micro-batch in one launch.

It is torch's variable-length FlashAttention, on a GPU that has it.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

__all__ = ["attend_together", "can_attend_together"]

_LEAST_CAPABILITY = (8, 0)  # of FlashAttention 2
_MOST_WIDTH = 256  # of a head
_NEEDED = {"scale", "window_size", "enable_gqa"}  # arguments that torch's first versions of it lack


@functools.cache
def _kernel() -> Callable[..., Any] | None:
    """The kernel, where this torch has it and was built with FlashAttention: not every wheel is."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    built = getattr(torch.backends.cuda, "is_flash_attention_available", lambda: False)()
    return varlen_attn if built and set(inspect.signature(varlen_attn).parameters) >= _NEEDED else None


@functools.lru_cache(maxsize=8)
def _bounds(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """Where sets begin and end, int32 [sets + 1]; every layer asks for the same."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)


def can_attend_together(query: Tensor) -> bool:
    """Whether `attend_together` serves such a query: 16 bits, on a GPU of compute capability 8.0 or more."""
    return (
        query.device.type == "cuda"
        and query.dtype in (torch.float16, torch.bfloat16)
        and query.shape[-1] <= _MOST_WIDTH
        and torch.cuda.get_device_capability(query.device) >= _LEAST_CAPABILITY
        and _kernel() is not None
    )


def attend_together(
    query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], *, scale: float, window: int | None = None
) -> Tensor:
    """Causal attention within each set.

    Args:
        query: [1, H, T, d], T at least the sum of lengths.
        key: [1, G, T, d].
        value: [1, G, T, d].
        lengths: tokens of each set.
        scale: of the products.
        window: tokens that one sees, itself among them; None: all before it.

    Returns:
        [1, T, H, d]; 0 after the last set.
    """
    kernel = _kernel()
    assert kernel is not None
    total, most = sum(lengths), max(lengths)
    bounds = _bounds(tuple(lengths), query.device)
    q, k, v = (x[0, :, :total].transpose(0, 1) for x in (query, key, value))
    seen = (-1 if window is None or window >= most else window - 1, 0)
    grouped = q.shape[1] != k.shape[1]
    out = kernel(q, k, v, bounds, bounds, most, most, scale=scale, window_size=seen, enable_gqa=grouped)
    return torch.nn.functional.pad(out, (0, 0, 0, 0, 0, query.shape[2] - total))[None]
