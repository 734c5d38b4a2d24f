"""Configuration, tokenizer and stop tokens of a GGUF file, as transformers has them.

transformers reads the fields that most files have. What it leaves at a family's default is taken from the file here:
how positions are stretched, sizes of heads, soft caps, and the tokens that end a turn.
"""

import contextlib
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgepers.errors import ModelError, first_line
from edgepers.model.gguf_file import GgufFile
from edgepers.model.pretrained import read_gguf_config, read_gguf_tokenizer

__all__ = ["gguf_config", "gguf_tokenizer", "stop_tokens"]

_ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")  # of text, of a turn, of a message
_FEATURES = {  # what transformers leaves at its default, as the file's field and the configuration have it
    "attention.key_length": "head_dim",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
_WIDE = {"gemma2": 46, "gemma3": 62}  # blocks of the one size whose queries are scaled by the width, not by a head's
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}  # since 3.1
_CLOSE = 1e-3  # of two factors that are the same one


def gguf_config(file: GgufFile) -> Any:
    """The configuration of a GGUF file's model, in bfloat16.

    Raises:
        ModelError: its fields make none.
    """
    import torch

    rows = file.tensors["token_embd.weight"].shape[0]
    try:
        header = file.header_alone(without="tokenizer.", extra={f"{file.architecture}.vocab_size": rows})
        with _as_file(header) as folder:
            config = read_gguf_config(folder, "header.gguf")
        _complete(config, file)
        _stretch(config, file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        raise ModelError(
            f"--model {file.path}: its header makes no configuration ({first_line(error)}); take another file of the"
            " model"
        ) from error
    config.vocab_size = rows
    config.tie_word_embeddings = "output.weight" not in file.tensors
    config.dtype = torch.bfloat16
    return config


def gguf_tokenizer(file: GgufFile) -> Any:
    """The tokenizer of a GGUF file, with its chat template where it has one.

    Raises:
        ModelError: transformers makes none of it.
    """
    try:
        with _as_file(file.header_alone()) as folder:
            return read_gguf_tokenizer(folder, "header.gguf")
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, NotImplementedError) as error:
        raise ModelError(
            f"--model {file.path}: its tokenizer cannot be made ({first_line(error)}); take another file of the model"
        ) from error


def stop_tokens(file: GgufFile) -> list[int]:
    """Tokens at which the file says that an answer is over: the end of a turn is not always that of a text."""
    given = (file.fields.get(f"tokenizer.ggml.{name}") for name in _ENDS)
    rows = file.tensors["token_embd.weight"].shape[0]
    return sorted({int(token) for token in given if token is not None and 0 <= int(token) < rows})


@contextlib.contextmanager
def _as_file(header: bytes) -> Iterator[Path]:
    """A folder in which a header lies as a file and nothing else does, so that nothing else is read."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "header.gguf").write_bytes(header)
        yield Path(folder)


def _complete(config: Any, file: GgufFile) -> None:
    """Take over what the file has and transformers did not."""
    for field, name in _FEATURES.items():
        value = file.field(field)
        if value is not None and hasattr(config, name):
            setattr(config, name, value)
    if file.architecture == "phi3":
        config.sliding_window = file.field("attention.sliding_window") or None
    if _WIDE.get(file.architecture) == config.num_hidden_layers:
        config.query_pre_attn_scalar = config.hidden_size // config.num_attention_heads
    vars(config).pop("_model_name_or_path", None)  # the title that the file has


def _stretch(config: Any, file: GgufFile) -> None:
    """How far and in what way positions are stretched.

    Raises:
        ValueError: in a way that is not known here.
    """
    kind = str(file.field("rope.scaling.type", "none"))
    factor = float(file.field("rope.scaling.factor", file.field("rope.scale_linear", 0.0)))
    original = file.field("rope.scaling.original_context_length")
    if "rope_freqs.weight" in file.tensors:
        _set_rope(config, _llama3(file))
    elif "rope_factors_long.weight" in file.tensors:
        config.original_max_position_embeddings = original or config.max_position_embeddings
        _set_rope(
            config,
            {
                "rope_type": "longrope",
                "short_factor": _values(file, "rope_factors_short.weight"),
                "long_factor": _values(file, "rope_factors_long.weight"),
            },
        )
    elif factor > 1 and kind in ("linear", "none"):
        _set_rope(config, {"rope_type": "linear", "factor": factor})
    elif factor > 1 and kind == "yarn":
        scaling = {"rope_type": "yarn", "factor": factor}
        _set_rope(config, scaling | ({"original_max_position_embeddings": int(original)} if original else {}))
    elif kind not in ("linear", "none", "yarn"):
        raise ValueError(f"positions stretched by {kind}")
    turned, head = file.field("rope.dimension_count"), getattr(config, "head_dim", None)
    head = head or config.hidden_size // config.num_attention_heads
    if file.architecture == "phi3" and turned is not None and turned != head:
        config.partial_rotary_factor = turned / head
        _set_rope(config, {"partial_rotary_factor": turned / head})


def _set_rope(config: Any, values: dict[str, Any]) -> None:
    """Put values where transformers 5 or 4 has them; Gemma 3 stretches the layers that see everything alone."""
    ropes = getattr(config, "rope_parameters", None)
    if ropes is None:
        config.rope_scaling = {**(getattr(config, "rope_scaling", None) or {}), **values}
    elif "full_attention" in ropes:
        config.rope_parameters = {**ropes, "full_attention": {**ropes["full_attention"], **values}}
    else:
        config.rope_parameters = {**ropes, **values}


def _llama3(file: GgufFile) -> dict[str, Any]:
    """The stretching that a file's table of factors, one a frequency, is made by.

    Raises:
        ValueError: it is not Llama 3's.
    """
    table = _values(file, "rope_freqs.weight")
    factor, base = round(max(table), 3), float(file.field("rope.freq_base", 10000.0))
    low, high, original = _LLAMA3.values()
    for i, found in enumerate(table):
        turns = original / (2 * math.pi * base ** (i / len(table)))  # of this frequency in the original window
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        if abs(1 / ((1 - smooth) / factor + smooth) - found) > _CLOSE * found:
            raise ValueError("a table of frequencies (rope_freqs.weight) other than Llama 3's")
    return {"rope_type": "llama3", "factor": factor, **_LLAMA3}


def _values(file: GgufFile, name: str) -> list[float]:
    """A small weight as numbers."""
    return [float(value) for part in file.read(file.tensors[name]) for value in part.flatten()]
