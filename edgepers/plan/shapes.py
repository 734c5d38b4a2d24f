"""A model without its weights: the same code on the meta device, by which plans are made before anything is loaded."""

import copy
from typing import Any

import torch
from torch import nn

from edgepers.errors import UncountableError, first_line
from edgepers.model.loading import quiet
from edgepers.model.nf4 import RESIDENT_BYTES, in_float32, is_quantized, linear_layers
from edgepers.model.pretrained import build_model
from edgepers.model.weights import CausalModel

__all__ = ["ModelShapes"]

_BLOCK, _GROUP = 64, 256  # double quantization: a byte of scale for a block of weights, a float for a group of scales
_CODES = 4 * (16 + 256)  # bytes of the two tables of each layer


class ModelShapes(CausalModel):
    """Shapes of a language model.

    Args:
        config: of transformers, of a causal language model.
        bits: 4 (NF4) or 16.
        on_cpu: where it will be: small models compute otherwise there, and what training costs is another.

    Raises:
        UncountableError: no model can be built from its configuration alone.
    """

    def __init__(self, config: Any, *, bits: int, on_cpu: bool) -> None:
        dtype = getattr(config.get_text_config(), "dtype", None) or torch.bfloat16
        try:
            with quiet(), torch.device("meta"):
                model = build_model(copy.deepcopy(config), dtype=dtype)  # the copy's attention is ours to change
        except (ValueError, KeyError, AttributeError, RuntimeError, ImportError) as error:
            raise UncountableError(first_line(error)) from error
        model.requires_grad_(False)
        super().__init__(model, name="", bits=bits, device=torch.device("meta"))
        self.on_cpu = on_cpu
        linear = linear_layers(model)
        if sum(layer.weight.numel() for layer in linear.values()) * dtype.itemsize <= RESIDENT_BYTES:
            if on_cpu and in_float32(self.parameter_count, bits):
                model.float()
        elif bits == 4:
            for name, layer in linear.items():
                model.set_submodule(name, _in_4_bits(layer))

    @classmethod
    def like(cls, llm: CausalModel) -> "ModelShapes":
        """Build the shapes of a model that is loaded."""
        return cls(llm.config, bits=llm.bits, on_cpu=llm.device.type == "cpu")

    @property
    def quantized_layers(self) -> list[Any]:
        """Layers that stay in 4 bits."""
        return [layer for layer in self.base.modules() if is_quantized(layer)]

    @property
    def largest_layer(self) -> int:
        """Weights of the largest linear layer but the head."""
        return max((int(layer.weight.numel()) for layer in linear_layers(self.base).values()), default=0)

    def weight_bytes(self) -> dict[str, int]:
        """Return bytes of the base model's weights, by part."""
        quantized = [layer.weight.numel() for layer in self.quantized_layers]
        total = sum(parameter.nbytes for parameter in self.base.parameters())
        plain = total - sum(layer.weight.nbytes for layer in self.quantized_layers)
        state = sum(-(-n // _BLOCK) + 4 * -(-n // (_BLOCK * _GROUP)) + _CODES for n in quantized)
        in_16 = "kept in 16 bits" if self.dtype.itemsize == 2 else "kept unquantized"
        return {"weights": sum(n // 2 for n in quantized), "quantization state": state, in_16: plain}


def _in_4_bits(layer: Any) -> nn.Module:
    from bitsandbytes.nn.modules import Linear4bit

    rows, columns = layer.weight.shape
    size = (columns, rows) if isinstance(layer, nn.Linear) else (rows, columns)  # GPT-2's are the other way round
    four = Linear4bit(*size, bias=layer.bias is not None, compute_dtype=layer.weight.dtype, device="meta")
    return four.requires_grad_(False)
