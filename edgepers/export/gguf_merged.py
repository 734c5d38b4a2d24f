"""A GGUF file of the base model with an adapter in its weights, for programs that take no adapter.

Every tensor that the adapter leaves alone, and everything else in the file, is copied as it is.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from edgepers.errors import ModelError
from edgepers.export.gguf_adapter import named_factors
from edgepers.model.gguf_names import GgufNames

__all__ = ["write_merged"]


def write_merged(base: Path, adapter: Path, config: Any, file: Path) -> dict[str, int]:
    """Write the base model's file anew with an adapter merged into the weights that it changes.

    A weight of 16 or 32 bits keeps its type; one of fewer becomes Q8_0: rounded again to 4 bits it would lose a part of
    what was learned. A row that is no multiple of 32 long, as Q8_0's blocks are, becomes F16.

    Args:
        base: GGUF file of the base model.
        adapter: PEFT's folder, of plain LoRA.
        config: of the base model (transformers').
        file: to write.

    Returns:
        How many of the changed weights have which type now, such as {"Q8_0": 210}.

    Raises:
        ModelError: the file cannot be read or is of another model, or the adapter is no plain LoRA.
    """
    import gguf

    names = GgufNames.of(config)
    reader = names.reader(base, said=str(base), model="the one that was trained on")
    deltas = _deltas(adapter, names)
    writer = gguf.GGUFWriter(file, names.architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        if field.contents() == []:
            continue  # nothing is in it, and the writer knows no type for that
        if field.name == gguf.Keys.General.ALIGNMENT:
            writer.data_alignment = int(field.contents())
        writer.add_key_value(field.name, field.contents(), field.types[0], *_element_type(field))
    types: dict[str, int] = {}
    kinds = {tensor.name: _merged_type(tensor) for tensor in reader.tensors if tensor.name in deltas}
    for tensor in reader.tensors:
        if (kind := kinds.get(tensor.name)) is None:
            data = tensor.data
            writer.add_tensor_info(tensor.name, data.shape, data.dtype, data.nbytes, tensor.tensor_type)
            continue
        shape = tuple(int(size) for size in reversed(tensor.shape))
        block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), math.prod(shape) // block * block_bytes, kind)
        types[kind.name] = types.get(kind.name, 0) + 1
    if lacking := deltas.keys() - kinds.keys():
        raise ModelError(f"{base}: no weight {min(lacking)}; give a GGUF file of the model that was trained on")
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in reader.tensors:  # one at a time
            kind = kinds.get(tensor.name)
            data = tensor.data if kind is None else _merged_data(base, tensor, deltas.pop(tensor.name), kind)
            writer.write_tensor_data(data)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    finally:
        writer.close()
    return types


def _element_type(field: Any) -> tuple[Any, ...]:
    """The type of an array's elements; nothing for a single value."""
    import gguf

    return (field.types[-1],) if field.types[0] == gguf.GGUFValueType.ARRAY else ()


def _deltas(adapter: Path, names: GgufNames) -> dict[str, tuple[Any, Any]]:
    """By GGUF's name, the two factors of what is added to a weight: [out, r] and [r, in]."""
    alpha, factors = named_factors(adapter, names)
    return {name: (up.numpy() * (alpha / len(down)), down.numpy()) for name, (up, down) in factors.items()}


def _merged_type(tensor: Any) -> Any:
    """What a weight is stored as once an adapter is in it."""
    import gguf

    kinds = gguf.GGMLQuantizationType
    if tensor.tensor_type in (kinds.F32, kinds.F16, kinds.BF16):
        return tensor.tensor_type
    return kinds.Q8_0 if int(tensor.shape[0]) % gguf.GGML_QUANT_SIZES[kinds.Q8_0][0] == 0 else kinds.F16


def _merged_data(base: Path, tensor: Any, delta: tuple[Any, Any], kind: Any) -> Any:
    """A weight with what is added to it."""
    import gguf

    try:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError as error:
        raise ModelError(f"{base}: {tensor.name}: {error}; take a file that is quantized otherwise") from None
    up, down = delta
    if values.shape != (len(up), down.shape[1]):
        raise ModelError(
            f"{base}: weight {tensor.name} is {list(values.shape)}, not {[len(up), down.shape[1]]}; give a GGUF file of"
            " the model that was trained on"
        )
    return gguf.quants.quantize(values.astype(np.float32) + up @ down, kind)
