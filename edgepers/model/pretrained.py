"""What transformers reads of a model's folder: configuration, tokenizer, weights.

Code that lies in a folder (`auto_map` in its configuration) is never run, and nobody is asked whether to run it: asked,
transformers reads the answer from standard input, which may be a stream of somebody's words.
"""

from pathlib import Path
from typing import Any

from edgepers.errors import ModelError

__all__ = [
    "build_model",
    "read_config",
    "read_gguf_config",
    "read_gguf_tokenizer",
    "read_model",
    "read_tokenizer",
]


def read_config(name: str, *, offline: bool) -> Any:
    """The configuration of a model, without what would have code of its folder run.

    Raises:
        ModelError: the model cannot be built without code of its own.
        OSError, ValueError, KeyError: there is none, or it cannot be read.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False, local_files_only=offline)
    except ValueError as error:
        if kind := _custom_type(name, offline=offline):
            raise ModelError(_needs_code(name, f"its type {kind!r}")) from error
        raise
    _without_lost_pad(config)
    return _without_code(config)


def _without_lost_pad(config: Any) -> None:
    """Take away a pad token that the embedding has no row for; the embedding would not be made with it."""
    text = config.get_text_config()
    pad, rows = getattr(text, "pad_token_id", None), getattr(text, "vocab_size", None)
    if isinstance(pad, int) and isinstance(rows, int) and not 0 <= pad < rows:
        text.pad_token_id = None


def _without_code(config: Any) -> Any:
    """A configuration that names no code of its folder, and no attention kernel of somebody's on the Hub."""
    if hasattr(config, "auto_map"):
        del config.auto_map
    for part in {id(part): part for part in (config, config.get_text_config())}.values():
        if "/" in str(getattr(part, "_attn_implementation", None)):
            part._attn_implementation = None
    return config


def _custom_type(name: str, *, offline: bool) -> str | None:
    """The type of a model that comes with code and that transformers has no class for."""
    from transformers import CONFIG_MAPPING, PretrainedConfig

    try:
        given, _ = PretrainedConfig.get_config_dict(name, local_files_only=offline)
    except (OSError, ValueError):
        return None
    kind = str(given.get("model_type"))
    return kind if "auto_map" in given and kind not in CONFIG_MAPPING else None


def _needs_code(name: str, what: str) -> str:
    return (
        f"--model {name}: {what} needs code that comes with it, which edgepers never runs; give a model that"
        " transformers has a class for, such as Qwen/Qwen2.5-0.5B-Instruct"
    )


def read_tokenizer(name: str, *, offline: bool) -> Any:
    """The tokenizer of a model.

    Raises:
        ModelError: it is made by code of its own.
        OSError, ValueError, KeyError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False, local_files_only=offline)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        if "auto_map" in get_tokenizer_config(name, local_files_only=offline):
            raise ModelError(_needs_code(name, "its tokenizer")) from error
        raise


def read_model(name: str, config: Any, *, offline: bool, **options: Any) -> Any:
    """A causal language model with the weights of its safetensors files; `options` are transformers' own.

    Raises:
        OSError, ValueError, KeyError, RuntimeError: there are none, or they cannot be read.
    """
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        name, config=config, trust_remote_code=False, use_safetensors=True, local_files_only=offline, **options
    )


def build_model(config: Any, **options: Any) -> Any:
    """A causal language model of a configuration's shapes; its weights are whatever they are made with.

    Raises:
        ValueError, KeyError, AttributeError, RuntimeError, ImportError: transformers cannot build it.
    """
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(config, trust_remote_code=False, **options)


def read_gguf_config(folder: Path, file: str) -> Any:
    """The configuration that transformers reads off the fields of a GGUF file.

    Args:
        folder: nothing else lies in it.
        file: its name there.

    Raises:
        OSError, ValueError, KeyError, TypeError: it cannot be read.
    """
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, gguf_file=file, trust_remote_code=False, local_files_only=True)


def read_gguf_tokenizer(folder: Path, file: str) -> Any:
    """The tokenizer that transformers makes of the fields of a GGUF file; arguments as for `read_gguf_config`.

    Saved, it is read as it is: a family's own class would build its parts anew.

    Raises:
        OSError, ValueError, KeyError, TypeError: it cannot be made.
    """
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(
        folder, gguf_file=file, trust_remote_code=False, local_files_only=True
    )
