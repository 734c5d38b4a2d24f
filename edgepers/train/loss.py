"""Losses over the vocabulary without its logits: the head's product and its gradient, a few rows at a time."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["CHUNK_BYTES", "chunk_rows", "cross_entropy", "head_loss"]

ROUNDED = 32
CHUNK_BYTES = 32_000_000  # of one chunk's logits in float32; three to four such arrays stand at once


def chunk_rows(vocabulary: int) -> int:
    """States whose logits are made at once."""
    rows = max(CHUNK_BYTES // (4 * vocabulary), 1)
    return rows // ROUNDED * ROUNDED or rows


class _HeadLoss(torch.autograd.Function):
    """The gradient for the states is made chunk by chunk with the loss itself, while a chunk's logits are there."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, head: Callable[[Tensor], Tensor], loss: Callable[[Tensor, slice], Tensor], rows: int) -> Tensor:
        gradient = torch.empty_like(states)
        total = torch.zeros((), dtype=torch.float32, device=states.device)
        for start in range(0, len(states), rows):
            chunk = slice(start, start + rows)
            with torch.enable_grad():
                part = states[chunk].detach().requires_grad_()
                whole = F.pad(part, (0, 0, 0, -len(part) % min(ROUNDED, rows)))  # few shapes: matrix libraries keep code for each
                value = loss(head(whole)[: len(part)].float(), chunk)
                (gradient[chunk],) = torch.autograd.grad(value, part)
            total += value.detach()
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Any, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * scale.to(gradient.dtype), None, None, None


def head_loss(states: Tensor, head: Callable[[Tensor], Tensor], loss: Callable[[Tensor, slice], Tensor], vocabulary: int) -> Tensor:
    """Sum over states of a loss of their logits, of which no more than a chunk stands in memory.

    Args:
        states: [n, d] hidden states.
        head: frozen; [k, d] -> [k, V] logits.
        loss: ([k, V] float32 logits, which of the n they are) -> their loss, summed up.
        vocabulary: V.
    """
    total: Tensor = _HeadLoss.apply(states, head, loss, chunk_rows(vocabulary))  # type: ignore[no-untyped-call]
    return total


def cross_entropy(targets: Tensor, weight: float) -> Callable[[Tensor, slice], Tensor]:
    """Negative log-likelihood of int64 [n] targets, in nats, each times `weight`, as `head_loss` takes it."""
    return lambda logits, chunk: weight * F.cross_entropy(logits, targets[chunk], reduction="sum")
