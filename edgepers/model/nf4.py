"""Weights of linear layers, in NF4 or as they are stored."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

__all__ = ["is_quantized", "stored_weight"]


def is_quantized(layer: Any) -> bool:
    """Of bitsandbytes' 4-bit kind, in memory or in shape alone."""
    from bitsandbytes.nn.modules import Linear4bit

    return isinstance(layer, Linear4bit)


def stored_weight(layer: Any) -> Callable[[], Tensor]:
    """W [out, in] of a linear layer, dequantized anew at each call where it is in 4 bits."""
    from transformers.pytorch_utils import Conv1D

    if not is_quantized(layer):
        return (lambda: layer.weight.t()) if isinstance(layer, Conv1D) else (lambda: layer.weight)  # noqa: PLW0108
    from bitsandbytes.functional import dequantize_4bit

    return lambda: dequantize_4bit(layer.weight.data, layer.weight.quant_state)
