"""Products with frozen NF4 weights and LoRA's beside them in one kernel on a GPU, where `--fused` asks for them and they are faster.

Dequantizing a weight writes it in 16 bits and reads it again, nine times the bytes of its NF4 form; for a micro-batch of few tokens that
takes longer than the product. The kernel dequantizes tiles in registers, once for each 128 tokens, so it gains with few tokens and loses
with many. Where the two meet is a GPU's own; bitsandbytes' forward kernel, which knows no LoRA, has it between 64 and 256 tokens.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Fused", "FusedProducts", "LowRank", "NF4Weight"]

_REPEATS = 5  # of what is timed
_COLUMNS, _SCALES = 64, 256  # that share a scale, and scales that share one


@dataclass(frozen=True, slots=True)
class NF4Weight:
    """W [out, in] in NF4 with double quantization (Dettmers et al. 2023, section 3): W = values[packed] x scale, 64 columns a scale.

    Attributes:
        outputs: of W.
        inputs: of W, a multiple of 64.
        packed: [out x in / 2] uint8, two columns a byte, the first in the high half.
        scales: [out x in / 64] uint8; scale = scale_values[scales] x scale_scales + offset.
        values: [16] float32.
        scale_values: [256] float32.
        scale_scales: [scales / 256] float32.
        offset: [] float32.
    """

    outputs: int
    inputs: int
    packed: Tensor
    scales: Tensor
    values: Tensor
    scale_values: Tensor
    scale_scales: Tensor
    offset: Tensor

    @classmethod
    def of(cls, layer: Any) -> "NF4Weight | None":
        """That of a bitsandbytes layer; None where it is kept in another way."""
        state = getattr(layer.weight, "quant_state", None)
        if state is None or state.quant_type != "nf4" or state.blocksize != _COLUMNS or not state.nested:
            return None
        outputs, inputs = state.shape
        if inputs % _COLUMNS or state.state2.blocksize != _SCALES:
            return None
        return cls(outputs, inputs, layer.weight.data, state.absmax, state.code, state.state2.code, state.state2.absmax, state.offset)


@dataclass(frozen=True, slots=True)
class LowRank:
    """LoRA's part of a product: scale (low high) x mask.

    Attributes:
        low: [T, r].
        high: [r, n], of any strides and type.
        scale: a factor.
        mask: [T, n]; None: all ones.
    """

    low: Tensor
    high: Tensor
    scale: float = 1.0
    mask: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Fused:
    """Products with one frozen weight."""

    weight: NF4Weight

    def forward(self, x: Tensor, added: LowRank | None = None, bias: Tensor | None = None) -> Tensor:
        """X W' + bias + LoRA's part: [T, in] to [T, out]."""
        from edgepers.train.fused_triton import nf4_product

        return nf4_product(x, self.weight, added, bias=bias)

    def backward(self, gradient: Tensor, added: LowRank | None = None) -> Tensor:
        """Gradient W + LoRA's part: [T, out] to [T, in]."""
        from edgepers.train.fused_triton import nf4_product

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
        """For a layer in 4 bits, and what dequantizes it; None: that is the better way."""
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
    """Of one call."""
    wait: Callable[[], object] = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    for _ in range(_REPEATS):
        run()
    wait()
    return (time.perf_counter() - began) / _REPEATS
