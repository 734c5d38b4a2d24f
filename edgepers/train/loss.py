"""Losses over the vocabulary without its logits: the head's product and its gradient, a few rows at a time."""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["CHUNK_BYTES", "chunk_rows", "cross_entropy", "head_loss", "log_shares"]

ROUNDED = 32
CHUNK_BYTES = (
    32_000_000  # of one chunk's logits in float32; one such array and one or two in the model's type stand at once
)


def chunk_rows(vocabulary: int) -> int:
    """States whose logits are made at once."""
    rows = max(CHUNK_BYTES // (4 * vocabulary), 1)
    return rows // ROUNDED * ROUNDED or rows


def _of_chunk(
    states: Tensor, gradient: Tensor, head: Callable[[Tensor], Tensor], loss: Callable[[Tensor], Tensor], rows: int
) -> Tensor:
    """The loss of a few states; their gradient is written into `gradient`. What stood between is gone at the end."""
    with torch.enable_grad():
        part = states.detach().requires_grad_()
        idle = -len(part) % min(ROUNDED, rows)  # few shapes: matrix libraries keep code for each
        value = loss(head(F.pad(part, (0, 0, 0, idle)))[: len(part)] if idle else head(part))
        (gradient[:],) = torch.autograd.grad(value, part)
    return value.detach()


class _HeadLoss(torch.autograd.Function):
    """The gradient for the states is made chunk by chunk with the loss itself, while a chunk's logits are there."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, head: Callable[[Tensor], Tensor], loss: Callable[..., Tensor], rows: int
    ) -> Tensor:
        gradient = torch.empty_like(states)
        total = torch.zeros((), dtype=torch.float32, device=states.device)
        for start in range(0, len(states), rows):
            chunk = slice(start, start + rows)
            total += _of_chunk(states[chunk], gradient[chunk], head, functools.partial(loss, chunk=chunk), rows)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Any, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * scale.to(gradient.dtype), None, None, None


def head_loss(
    states: Tensor, head: Callable[[Tensor], Tensor], loss: Callable[[Tensor, slice], Tensor], vocabulary: int
) -> Tensor:
    """Sum over states of a loss of their logits, of which no more than a chunk stands in memory.

    Args:
        states: [n, d] hidden states.
        head: frozen; [k, d] -> [k, V] logits.
        loss: ([k, V] logits, which of the n they are) -> their loss, summed up; the logits are its own to overwrite.
        vocabulary: V.
    """
    total: Tensor = _HeadLoss.apply(states, head, loss, chunk_rows(vocabulary))  # type: ignore[no-untyped-call]
    return total


class _LogShares(torch.autograd.Function):
    """Log-softmax that overwrites its logits.

    Logits become probabilities where they stand, and these their own gradient: one array of V numbers a row instead of
    four.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, tokens: Tensor) -> Tensor:
        shares = logits.detach().float()  # of float32, the logits themselves
        shares -= shares.amax(1, keepdim=True)
        chosen = shares.gather(1, tokens)
        total = shares.exp_().sum(1, keepdim=True)
        shares /= total
        ctx.save_for_backward(shares, tokens)
        ctx.dtype = logits.dtype
        return chosen - total.log()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        shares, tokens = ctx.saved_tensors
        shares.mul_(-gradient.sum(1, keepdim=True)).scatter_add_(1, tokens, gradient)
        return shares.to(ctx.dtype), None


def log_shares(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return the log-softmax of [n, V] logits at int64 [n, k] tokens: float32 [n, k], in nats.

    The logits are overwritten, and one backward pass is possible.
    """
    chosen: Tensor = _LogShares.apply(logits, tokens)  # type: ignore[no-untyped-call]
    return chosen


def cross_entropy(targets: Tensor, weights: Tensor) -> Callable[[Tensor, slice], Tensor]:
    """Negative log-likelihood of int64 [n] targets, in nats times float32 [n] weights, as `head_loss` takes it."""
    return lambda logits, chunk: -(weights[chunk] * log_shares(logits, targets[chunk, None])[:, 0]).sum()
