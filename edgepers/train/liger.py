"""Norms and gated products by Liger-Kernel's Triton kernels on a GPU (Hsu et al. 2024, arXiv 2410.10989), where `--liger` asks for them.

They keep as much as `kept`'s own for their gradient, and launch one kernel where plain torch launches several. Which of the two a GPU is
faster with is measured there: `python -m benchmarks.bench_train --ablation`.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgepers.errors import UsageError

__all__ = ["check_liger", "gemma_norm", "llama_norm", "silu_product"]


def check_liger(device: torch.device) -> None:
    """See that its kernels can be used.

    Raises:
        UsageError: the model is not on a GPU, or Liger-Kernel is not installed.
    """
    if device.type != "cuda":
        raise UsageError("--liger needs a GPU, and this model runs on the CPU; give --no-liger")
    _ops()


@functools.cache
def _ops() -> tuple[Any, Any]:
    try:
        from liger_kernel.ops.rms_norm import LigerRMSNormFunction
        from liger_kernel.ops.swiglu import LigerSiLUMulFunction
    except ImportError as error:
        raise UsageError(
            f"--liger needs Liger-Kernel ({error}); install it with: pip install 'edgepers[liger]', or give --no-liger"
        ) from None
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
