"""Norms and gated products by Liger-Kernel's Triton kernels on a GPU, where `--liger` asks for them.

Hsu et al. 2024, arXiv 2410.10989.

They keep as much as `kept`'s own for their gradient, and launch one kernel where plain torch launches several. Which of
the two a GPU is
faster with is measured there: `python -m benchmarks.bench_train --ablation`.
"""

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor

__all__ = ["gemma_norm", "llama_norm", "silu_product"]


@functools.cache
def _ops() -> tuple[Any, Any]:
    from liger_kernel.ops.rms_norm import LigerRMSNormFunction
    from liger_kernel.ops.swiglu import LigerSiLUMulFunction

    return LigerRMSNormFunction, LigerSiLUMulFunction


def _norm(weight: Tensor, eps: float, offset: float, casting: str) -> Callable[[Tensor], Tensor]:
    norm, _ = _ops()
    # Not in place: the gradient that comes in may be that of a residual, too.
    return lambda x: norm.apply(x, weight, eps, offset, casting, False, None)


def llama_norm(weight: Tensor, eps: float) -> Callable[[Tensor], Tensor]:
    """RMSNorm with a frozen weight [d], weighed after rounding."""
    return _norm(weight, eps, 0.0, "llama")


def gemma_norm(weight: Tensor, eps: float) -> Callable[[Tensor], Tensor]:
    """RMSNorm by 1 + weight [d], frozen, in float32."""
    return _norm(weight, eps, 1.0, "gemma")


def silu_product() -> Callable[[Tensor, Tensor], Tensor]:
    """silu(gate) x up; both are overwritten by their gradients on the way back."""
    _, product = _ops()
    return product.apply  # type: ignore[no-any-return]
