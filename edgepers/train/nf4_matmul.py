"""Products with frozen NF4 weights and LoRA's beside them in one kernel on a GPU.

They are used where `--fused` asks for them and they are faster.

Dequantizing a weight writes it in 16 bits and reads it again, nine times the bytes of its NF4 form; for a micro-batch
of few tokens that takes longer than the product. The kernel dequantizes tiles in registers, once for each 128 tokens,
so it gains with few tokens and loses with many. Where the two meet is a GPU's own; bitsandbytes' forward kernel, which
knows no LoRA, has it between 64 and 256 tokens.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgepers.train.nf4 import LowRank, NF4Weight

__all__ = ["Fused", "FusedProducts"]

_REPEATS = 5  # of what is timed


@dataclass(frozen=True, slots=True)
class Fused:
    """Products with one frozen weight."""

    weight: NF4Weight

    def forward(self, x: Tensor, added: LowRank | None = None, bias: Tensor | None = None) -> Tensor:
        """X W' + bias + LoRA's part: [T, in] to [T, out]."""
        from edgepers.train.nf4_matmul_triton import nf4_product

        return nf4_product(x, self.weight, added, bias=bias)

    def backward(self, gradient: Tensor, added: LowRank | None = None) -> Tensor:
        """Gradient W + LoRA's part: [T, out] to [T, in]."""
        from edgepers.train.nf4_matmul_triton import nf4_product

        return nf4_product(gradient, self.weight, added, back=True)


class FusedProducts:
    """Chooses the kernel for the layers whose shape it says the same for, and faster, tried once a shape before a run.

    Args:
        tokens: of a micro-batch.
    """

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._taken: dict[tuple[int, int], bool] = {}

    def __call__(self, layer: Any, weight: Callable[[], Tensor]) -> Fused | None:
        """Return the fused product for a layer in 4 bits; None where dequantizing it is the better way."""
        found = NF4Weight.of(layer)
        if found is None:
            return None
        shape = found.outputs, found.inputs
        if shape not in self._taken:
            self._taken[shape] = self._pays(Fused(found), weight)
        return Fused(found) if self._taken[shape] else None

    @torch.no_grad()
    def _pays(self, fused: Fused, weight: Callable[[], Tensor]) -> bool:
        like = weight()
        random = torch.Generator().manual_seed(0)
        x, gradient = (torch.randn(self._tokens, width, generator=random).to(like) for width in reversed(like.shape))
        del like
        ways: tuple[Callable[[], tuple[Tensor, Tensor]], ...] = (
            lambda: (F.linear(x, weight()), gradient @ weight()),
            lambda: (fused.forward(x), fused.backward(gradient)),
        )
        if not all(map(_same, *(way() for way in ways))):
            return False
        plain, kernel = (seconds_of(way, x.device) for way in ways)
        return kernel < plain


def _same(truth: Tensor, found: Tensor) -> bool:
    return bool((truth.float() - found.float()).abs().max() <= 0.01 * truth.float().abs().max())


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """Time one call."""
    wait: Callable[[], object] = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    for _ in range(_REPEATS):
        run()
    wait()
    return (time.perf_counter() - began) / _REPEATS
