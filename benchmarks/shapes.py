"""Models of a real shape with random weights, made on the spot.

Speed and memory hang on shapes, not on what weights say.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from edgepers.assets import model_folder

__all__ = ["SHAPES", "make_model"]

_LLAMA_32: dict[str, Any] = {"vocab_size": 128256, "intermediate_size": 8192, "num_key_value_heads": 8}
SHAPES: dict[str, dict[str, Any]] = {
    "0.2B": {  # 185 M parameters, with the vocabulary of the SmolLM2 family
        "vocab_size": 49152,
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 12,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "head_dim": 64,
    },
    "0.36B": {  # SmolLM2-360M
        "vocab_size": 49152,
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
        "head_dim": 64,
    },
    "0.5B": {  # Qwen2.5-0.5B, but for its biases
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "head_dim": 64,
    },
    # Llama-3.2-1B
    "1B": _LLAMA_32 | {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "head_dim": 64},
    # Llama-3.2-3B
    "3B": _LLAMA_32 | {"hidden_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 24, "head_dim": 128},
}


def make_model(shape: str, folder: Path) -> Path:
    """A Llama of that shape in `folder`, bfloat16, a file a layer, with the packaged model's tokenizer.

    A finished one stays.
    """
    if (folder / "config.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    config = SHAPES[shape]
    places: dict[str, str] = {}
    total = 0
    for number, tensors in enumerate(_tensors(config)):
        file = f"model-{number:05}.safetensors"
        save_file(tensors, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, file)
        total += sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / file).write_bytes((model_folder() / file).read_bytes())
    whole = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "eos_token_id": 1,
        "bos_token_id": None,
        "pad_token_id": 0,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096,
        **config,
    }
    (folder / "config.json").write_text(json.dumps(whole), encoding="utf-8")
    return folder


def _tensors(c: dict[str, Any]) -> Iterator[dict[str, Tensor]]:
    """The embeddings, then each layer."""
    d, ff, generator = c["hidden_size"], c["intermediate_size"], torch.Generator().manual_seed(0)
    q, kv = c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]

    def normal(rows: int, columns: int) -> Tensor:
        return torch.empty(rows, columns, dtype=torch.bfloat16).normal_(std=0.02, generator=generator)

    yield {
        "model.embed_tokens.weight": normal(c["vocab_size"], d),
        "model.norm.weight": torch.ones(d, dtype=torch.bfloat16),
    }
    for layer in range(c["num_hidden_layers"]):
        here = f"model.layers.{layer}."
        shapes = {
            "self_attn.q_proj": (q, d),
            "self_attn.k_proj": (kv, d),
            "self_attn.v_proj": (kv, d),
            "self_attn.o_proj": (d, q),
            "mlp.gate_proj": (ff, d),
            "mlp.up_proj": (ff, d),
            "mlp.down_proj": (d, ff),
        }
        norms = {
            f"{here}{name}.weight": torch.ones(d, dtype=torch.bfloat16)
            for name in ("input_layernorm", "post_attention_layernorm")
        }
        yield {f"{here}{name}.weight": normal(*size) for name, size in shapes.items()} | norms
