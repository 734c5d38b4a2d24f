"""Weights of linear layers in NF4: how they are quantized when a model is loaded, and read again when they are used."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor

from edgepers.device import multiplies_bfloat16

__all__ = [
    "RESIDENT_BYTES",
    "in_float32",
    "is_quantized",
    "linear_layers",
    "nf4_config",
    "quantized_weight",
    "settle_nf4",
    "settle_plain",
    "stored_weight",
]

RESIDENT_BYTES = (
    256_000_000  # 4-bit layers that are no larger than this in 16 bits are dequantized once, not at every use
)

FLOAT32_BELOW = 50_000_000  # parameters


def in_float32(parameters: int, bits: int) -> bool:
    """Whether a model with layers of no more than `RESIDENT_BYTES` computes in float32 on this CPU.

    A few million parameters cost little in float32, and bfloat16's rounding lets the batch around a question change its
    answer (of 40 answers, 36 were the same alone and in a batch; in float32 all 40). Larger ones are computed in
    bfloat16 where the processor multiplies it, in half the memory and a fraction of the time. In 16 bits all of them
    are computed in float32: who asks for these wants the answers that the weights give (of 20 answers of SmolLM2 with
    64 tokens, 10 were the same alone and in a batch in bfloat16, and 20 in float32).
    """
    return bits == 16 or parameters < FLOAT32_BELOW or not multiplies_bfloat16()


def nf4_config(dtype: torch.dtype) -> Any:
    """Ask transformers to quantize weights to NF4 with double quantization while it reads them, one after the other.

    Dettmers et al. 2023 (QLoRA), section 3. `dtype` is what products are computed in.
    """
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def quantized_weight(name: str, weight: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A weight [out, in] as a folder in 4 bits stores it: packed, with the scales that `nf4_config` asks for.

    Args:
        name: of the weight; its parts are named after it.
        weight: in the type that products are computed in.
    """
    from bitsandbytes.functional import quantize_4bit

    packed, state = quantize_4bit(weight.contiguous(), quant_type="nf4", compress_statistics=True)
    yield name, packed
    for part, value in state.as_dict(packed=True).items():
        yield f"{name}.{part}", value


def is_quantized(layer: Any) -> bool:
    """Of bitsandbytes' 4-bit kind, in memory or in shape alone."""
    from bitsandbytes.nn.modules import Linear4bit

    return isinstance(layer, Linear4bit)


def linear_layers(model: Any) -> dict[str, Any]:
    """By name, all layers that 4 bits take: not the head."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, (torch.nn.Linear, Conv1D)) and layer is not head
    }


def stored_weight(layer: Any) -> Callable[[], Tensor]:
    """W [out, in] of a linear layer, dequantized anew at each call where it is in 4 bits."""
    from transformers.pytorch_utils import Conv1D

    if not is_quantized(layer):
        return (lambda: layer.weight.t()) if isinstance(layer, Conv1D) else (lambda: layer.weight)  # noqa: PLW0108
    from bitsandbytes.functional import dequantize_4bit

    return lambda: dequantize_4bit(layer.weight.data, layer.weight.quant_state)


def settle_nf4(model: Any, dtype: torch.dtype) -> None:
    """Small models compute from weights dequantized once (the same numbers, kept); larger ones at every use.

    On a CPU they may also compute in float32 (`in_float32`). bitsandbytes
    0.50 repacks 4-bit weights for AVX-512 CPUs at the first inference, and its product with repacked weights
    has no gradient: training after answering would silently lose the gradient of every layer. So repacking is off.
    """
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit

    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, Linear4bit)]
    resident = sum(layer.in_features * layer.out_features for _, layer in layers) * dtype.itemsize <= RESIDENT_BYTES
    for name, layer in layers:
        layer.support_avx512bf16_for_cpu = False
        if resident:
            plain = torch.nn.Linear(
                layer.in_features, layer.out_features, bias=layer.bias is not None, dtype=dtype, device="meta"
            )
            weight = dequantize_4bit(layer.weight.data, cast(Any, layer.weight).quant_state).to(dtype)
            plain.weight = torch.nn.Parameter(weight.view(layer.out_features, layer.in_features), requires_grad=False)
            plain.bias = layer.bias
            model.set_submodule(name, plain)
    if resident and model.device.type == "cpu" and in_float32(model.num_parameters(), 4):
        torch.nn.Module.float(
            model
        )  # transformers' own `float` refuses quantized models; no layer of it is quantized any more


def settle_plain(model: Any, dtype: torch.dtype) -> None:
    """A small model in 16 bits computes in float32 on a CPU, with the values that are stored."""
    linear = sum(layer.weight.numel() for layer in linear_layers(model).values()) * dtype.itemsize
    if model.device.type == "cpu" and linear <= RESIDENT_BYTES and in_float32(model.num_parameters(), 16):
        model.float()
