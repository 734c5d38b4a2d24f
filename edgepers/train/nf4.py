"""What a fused NF4 and LoRA product takes: a frozen weight in NF4, and LoRA's part beside it."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["LowRank", "NF4Weight"]

_COLUMNS, _SCALES = 64, 256  # that share a scale, and scales that share one


@dataclass(frozen=True, slots=True)
class NF4Weight:
    """W [out, in] in NF4 with double quantization: W = values[packed] x scale, 64 columns a scale.

    Dettmers et al. 2023 (QLoRA), section 3.

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
        """Take the weight of a bitsandbytes layer; None where it is kept in another way."""
        state = getattr(layer.weight, "quant_state", None)
        if state is None or state.quant_type != "nf4" or state.blocksize != _COLUMNS or not state.nested:
            return None
        outputs, inputs = state.shape
        if inputs % _COLUMNS or state.state2.blocksize != _SCALES:
            return None
        return cls(
            outputs,
            inputs,
            layer.weight.data,
            state.absmax,
            state.code,
            state.state2.code,
            state.state2.absmax,
            state.offset,
        )


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
