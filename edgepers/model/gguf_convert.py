"""A GGUF file written as the folder that is loaded afterwards: NF4 for 4 bits, bfloat16 for 16.

One weight is in memory at a time, and a file of what has been made. NF4 is made of bfloat16, as it is when a folder in
16 bits is loaded in 4: the numbers are the same.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgepers.errors import ModelError
from edgepers.model.gguf_config import gguf_config, gguf_tokenizer, stop_tokens
from edgepers.model.gguf_file import GgufFile, GgufTensor
from edgepers.model.gguf_names import NOT_WEIGHTS, GgufNames
from edgepers.model.nf4 import linear_layers, nf4_config, quantized_weight
from edgepers.model.pretrained import build_model

__all__ = ["convert_gguf"]

_DTYPE = torch.bfloat16
_SHARD_BYTES = 256_000_000


def convert_gguf(file: GgufFile, bits: int, folder: Path) -> None:
    """Write a file's model into an empty folder, as transformers reads it.

    Args:
        file: whole, of a known architecture and types.
        bits: 4 (NF4 with double quantization, but the embedding and the head) or 16 (bfloat16).
        folder: to write to; what is in it is whole when this returns.

    Raises:
        ModelError: configuration, tokenizer or weights do not make a model.
        OSError: the disk is full, or the folder cannot be written to.
    """
    config, tokenizer = gguf_config(file), gguf_tokenizer(file)
    with torch.device("meta"):
        model = build_model(config, dtype=_DTYPE)
    quantized = {f"{name}.weight" for name in linear_layers(model)} if bits == 4 else set()
    _write_shards(_stored(_weights(file, model, GgufNames.of(config)), quantized), folder)
    config.architectures = [type(model).__name__]
    if bits == 4:
        config.quantization_config = nf4_config(_DTYPE).to_dict()
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_generation(config, tokenizer, stop_tokens(file), folder)


def _weights(file: GgufFile, model: Any, names: GgufNames) -> Iterator[tuple[str, Tensor]]:
    """Each parameter under its name in transformers, in bfloat16.

    Raises:
        ModelError: one that the file has not, that the model has not, or of another shape.
    """
    left = dict(file.tensors)
    for key, parameter in model.named_parameters():
        tensor = left.pop(names.name(key), None)
        if tensor is None:
            raise ModelError(f"--model {file.path}: no weight for {key} in it; take another file of the model")
        if tensor.shape != tuple(parameter.shape):
            raise ModelError(
                f"--model {file.path}: {tensor.name} is {list(tensor.shape)}, not {list(parameter.shape)}; take another"
                " file of the model"
            )
        yield key, _weight(file, tensor, names)
    if others := sorted(set(left) - set(NOT_WEIGHTS)):
        raise ModelError(
            f"--model {file.path}: {type(model).__name__} has no place for {others[0]}; take another file of the model"
        )


def _weight(file: GgufFile, tensor: GgufTensor, names: GgufNames) -> Tensor:
    """One weight, dequantized some rows at a time."""
    if len(tensor.shape) == 1:  # norms and biases: what is taken off them, before they are rounded
        (whole,) = file.read(tensor)
        return names.weight_back(tensor.name, whole).to(_DTYPE)
    weight = torch.empty(tensor.shape, dtype=_DTYPE)
    at = 0
    for rows in file.read(tensor):
        weight[at : at + len(rows)] = rows
        at += len(rows)
    return names.weight_back(tensor.name, weight)


def _stored(weights: Iterator[tuple[str, Tensor]], quantized: set[str]) -> Iterator[tuple[str, Tensor]]:
    """Weights as they go to the disk."""
    for name, weight in weights:
        if name in quantized:
            yield from quantized_weight(name, weight)
        else:
            yield name, weight.contiguous()


def _write_shards(weights: Iterator[tuple[str, Tensor]], folder: Path) -> None:
    """Files of some 256 MB with their index."""
    from safetensors.torch import save_file

    shard: dict[str, Tensor] = {}
    places: dict[str, str] = {}
    total = size = 0

    def close() -> None:
        nonlocal shard, size
        name = f"model-{len(set(places.values())) + 1:05}.safetensors"
        save_file(shard, folder / name, metadata={"format": "pt"})
        places.update(dict.fromkeys(shard, name))
        shard, size = {}, 0

    for name, weight in weights:
        if shard and size + weight.nbytes > _SHARD_BYTES:
            close()
        shard[name] = weight
        size += weight.nbytes
        total += weight.nbytes
    close()
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _write_generation(config: Any, tokenizer: Any, stops: list[int], folder: Path) -> None:
    """Where answers end."""
    from transformers import GenerationConfig

    ends = sorted({*stops, *([tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else [])})
    made = GenerationConfig(
        eos_token_id=ends or None, bos_token_id=config.bos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    made.save_pretrained(folder)
