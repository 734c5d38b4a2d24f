"""Small random models as GGUF files with a vocabulary, written without our own code."""

from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tests.llama_cpp_models import as_float32, write_base

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
SMALL = {
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 256,  # as `write_base` says
}
MODELS = {  # by llama.cpp's architecture: transformers' type, and what differs
    "llama": ("llama", {"tie_word_embeddings": True}),
    "qwen2": ("qwen2", {"tie_word_embeddings": False}),
    "qwen3": ("qwen3", {"tie_word_embeddings": True, "head_dim": 32}),
    "gemma2": ("gemma2", {"sliding_window": 32, "query_pre_attn_scalar": 256}),
    "gemma3": ("gemma3_text", {"sliding_window": 32, "query_pre_attn_scalar": 256}),
    "phi3": ("phi3", {"pad_token_id": 0, "sliding_window": None}),
}
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def byte_level(writer):
    """A vocabulary as GPT-2, Llama 3 and Qwen have it; an answer ends with a turn, which is not the end of text."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eom|>"]
    alphabet = list(bytes_to_unicode().values())
    merges = ["t h", "th e", "Ġ the"]
    tokens = [*special, *alphabet, *(merge.replace(" ", "") for merge in merges)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([CONTROL] * len(special) + [NORMAL] * (len(tokens) - len(special)))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_eot_token_id(2)
    writer.add_eom_token_id(3)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)


def sentences(writer):
    """A vocabulary as Gemma and Phi-3 have it: pieces with scores, and bytes for what is none."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    words = ["▁", *"abcdefghijklmnopqrstuvwxyz", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "th", "the", "▁the"]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    types = [CONTROL, CONTROL, CONTROL, UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(words)]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(len(tokens))])
    writer.add_token_types(types)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TURNS)


VOCABULARIES = {"gemma2": (sentences, 318), "gemma3": (sentences, 318), "phi3": (sentences, 318)}


def random_model(architecture, **given):
    """A model of transformers in float32, with weights and norms that are all different."""
    kind, values = MODELS[architecture]
    _, rows = VOCABULARIES.get(architecture, (byte_level, 263))
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **(SMALL | values | {"vocab_size": rows} | given))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                weight.add_(0.1 * torch.randn(weight.shape))
    return model


def in_type(kind):
    """What `write_base` stores: matrices in a type of GGML's, norms and biases in float32."""
    number = gguf.GGMLQuantizationType[kind]

    def stored(_, rows):
        if rows.ndim == 1:
            return rows, None
        if kind in ("Q4_K", "Q5_K", "Q6_K"):
            return k_blocks(kind, rows.shape), number
        data = gguf.quants.quantize(rows, number)
        return data, None if kind in ("F32", "F16") else number

    return stored


def k_blocks(kind, shape):
    """Blocks of a K type with small scales and anything else: the gguf package reads these types and writes none."""
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    data = np.random.default_rng(0).integers(0, 256, (shape[0] * shape[1] // block, size), dtype=np.uint8)
    scales = np.frombuffer(np.array([1e-4, 1e-4], dtype=np.float16).tobytes(), dtype=np.uint8)
    if kind == "Q6_K":
        data[:, -2:] = scales[:2]
    else:
        data[:, :4] = scales
    return data.reshape(shape[0], -1)


def write_gguf(file: Path, architecture="llama", *, model=None, stored=as_float32, fields=None):
    """A whole file; returns the model that it was written of."""
    model = model or random_model(architecture)
    vocabulary, _ = VOCABULARIES.get(architecture, (byte_level, 0))

    def all_fields(writer):
        vocabulary(writer)
        if fields is not None:
            fields(writer)

    write_base(model, architecture, file, fields=all_fields, stored=stored)
    return model
