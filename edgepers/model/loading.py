"""Loading a model: where it is, whether it fits, 4 bits on the way in, and what identifies it."""

import contextlib
import hashlib
import json
import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from edgepers.assets import model_folder
from edgepers.config import format_size
from edgepers.device import compute_device, warm_up_4bit
from edgepers.errors import BudgetError, ModelError, first_line
from edgepers.model.converted import Held, content_of, hold_model
from edgepers.model.folder import check_folder, check_quantization, weight_files, weight_headers
from edgepers.model.gguf_file import GgufFile
from edgepers.model.heap import eager_trim, malloc_trim, tune_malloc
from edgepers.model.loaded_weights import check_weights, whole_prefix
from edgepers.model.names import hub_name_of_tag, is_tag
from edgepers.model.nf4 import nf4_config, settle_nf4, settle_plain
from edgepers.model.pretrained import read_config, read_model, read_tokenizer
from edgepers.model.sources import find_gguf

__all__ = ["check_memory", "folder_of", "identity_of", "import_libraries", "load_pretrained", "quiet", "resolve"]

NF4_BYTES = 0.516  # of a parameter: 4 bits, a byte of scale for 64 of them, and a float for 256 scales
_HUB_NAME = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)?")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' loading talk off the terminal; errors still come."""
    from transformers.utils import logging as hf_logging

    verbosity = hf_logging.get_verbosity()
    loggers = [logging.getLogger(name) for name in ("bitsandbytes", "peft", "accelerate")]
    levels = [logger.level for logger in loggers]
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hf_logging.set_verbosity(verbosity)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def import_libraries() -> None:
    """All code that a model needs: about 0.5 GB of memory with torch's, which no budget counts."""
    with quiet():
        import bitsandbytes  # noqa: F401
        import peft  # noqa: F401
        import transformers.modeling_utils  # noqa: F401


def resolve(model: str | None) -> str:
    """The folder, GGUF file or Hub name to load.

    Raises:
        ModelError: for what cannot be loaded, with what to give instead.
    """
    if model is None:
        return str(model_folder())
    if (file := find_gguf(model)) is not None:
        return str(file)
    path = Path(model).expanduser()
    if path.is_dir():
        if (path / "adapter_config.json").exists() and not (path / "config.json").exists():
            raise ModelError(f"--model {model}: a PEFT adapter, not a model; give its base model, {_base_of(path)}")
        if not (path / "config.json").exists():
            raise ModelError(
                f"--model {model}: no config.json in this folder; give a folder in Hugging Face format, or a GGUF file"
            )
        weight_files(path)
        return str(path.resolve())
    if path.exists():
        raise ModelError(f"--model {model}: not a GGUF file; give one, a folder in Hugging Face format or a Hub name")
    if is_tag(model):
        same = hub_name_of_tag(model) or "the Hub name of the same model, such as Qwen/Qwen2.5-1.5B-Instruct"
        raise ModelError(
            f"--model {model}: an Ollama tag, whose file is not on this machine; pull it there, or give {same}"
        )
    if not _HUB_NAME.fullmatch(model):
        raise ModelError(
            f"--model {model}: no such folder; give one in Hugging Face format, or a Hub name such as"
            " Qwen/Qwen2.5-0.5B-Instruct"
        )
    return model


def _base_of(adapter: Path) -> str:
    """The base model that a PEFT folder names."""
    try:
        base = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        base = None
    return str(base or "which adapter_config.json does not name")


def check_memory(model: str | None, bits: int, budget_bytes: int) -> None:
    """Refuse a local model whose weights alone pass the memory budget, before anything is loaded.

    Raises:
        BudgetError: names both sizes and the cure.
    """
    folder = Path(resolve(model))
    total = 0.0
    if folder.is_file():
        total = GgufFile(folder).weight_bytes(bits)
    for name, tensor in (weight_headers(folder) if folder.is_dir() else {}).items():
        quantized = bits == 4 and len(tensor["shape"]) == 2 and "embed" not in name and "lm_head" not in name
        begin, end = tensor["data_offsets"]
        stored_so = quantized and tensor["dtype"] != "U8"  # bitsandbytes' 4 bits are stored as bytes
        total += math.prod(tensor["shape"]) * NF4_BYTES if stored_so else end - begin
    if total > budget_bytes:
        needs, budget = format_size(total), format_size(budget_bytes)
        raise BudgetError(
            f"--model {model or folder}: its weights take {needs} of memory, over --memory {budget}; raise it, or take"
            " a smaller model"
        )


def _why_not(model: str, error: BaseException, *, local: bool) -> str:
    """What kept a model from loading, in one line with its cure."""
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    if local:
        return f"--model {model}: {first_line(error)}; check the folder"
    causes: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in causes:
        causes.append(at)
        at = at.__cause__ or at.__context__
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return (
            f"--model {model}: gated on the Hub; accept its licence at https://huggingface.co/{model}, then log in"
            " with 'hf auth login'"
        )
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return (
            f"--model {model}: no such name on the Hub, or private; check the spelling, or log in with 'hf auth login'"
        )
    if any(isinstance(cause, (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError)) for cause in causes):
        return (
            f"--model {model}: not on this machine, and the Hub cannot be reached; once online, fetch it with 'hf"
            f" download {model}'"
        )
    return (
        f"--model {model}: {first_line(error)}; give a local folder, or be online and logged in ('hf auth login') the"
        " first time"
    )


def _held(file: Path, bits: int, log: Callable[[str], None] | None = None) -> Held:
    """The folder that a GGUF file is loaded from, made where it is not there yet."""

    def make(folder: Path) -> None:
        from edgepers.model.gguf_convert import convert_gguf

        if log is not None:
            log(f"{file.name}: made ready to be loaded, once; 'edgepers models' lists what was made")
        with quiet(), eager_trim(small=True):
            convert_gguf(GgufFile(file), bits, folder)

    return hold_model(file, bits, make)


def folder_of(name: str, bits: int) -> str:
    """What transformers reads of a model that is loaded: its folder or Hub name; of a GGUF file, what was made of it.

    Args:
        name: of a `LanguageModel`.
        bits: 4 or 16, as it was loaded.
    """
    return str(_held(Path(name), bits).folder) if Path(name).is_file() else name


def load_pretrained(
    model: str | None, bits: int, device: torch.device | None, log: Callable[[str], None] | None = None
) -> tuple[Any, Any, str, str]:
    """Model (frozen, in evaluation mode), tokenizer, the folder, file or Hub name of them, and their identity.

    `log` is told in one line of what takes long and is done once.

    Raises:
        ModelError: names the model and the cure.
    """
    given = resolve(model)
    held = _held(Path(given), bits, log) if Path(given).is_file() else None
    name = given if held is None else str(held.folder)
    local = Path(name).is_dir()
    if local:
        check_folder(Path(name))
    tune_malloc()
    where = device or compute_device()
    if bits == 4 and where.type == "cuda":
        try:
            with quiet():
                warm_up_4bit(where)
        except RuntimeError as error:
            raise ModelError(
                f"4-bit layers do not launch on this GPU ({first_line(error)}); 'edgepers doctor' says the cure"
            ) from error
    try:
        with quiet(), _read_not_mapped(), eager_trim(small=True):
            try:
                config, tokenizer, loaded, dtype = _from_pretrained(name, bits, where, offline=True)
            except OSError:  # a Hub name that is not on this machine yet: the one time that the network is asked
                if local:
                    raise
                config, tokenizer, loaded, dtype = _from_pretrained(name, bits, where, offline=False)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AssertionError) as error:
        raise ModelError(_why_not(model or name, error, local=local)) from error
    _settle_end_token(tokenizer, loaded.generation_config.eos_token_id)
    _settle_pad_token(tokenizer, len(loaded.get_input_embeddings().weight))
    loaded.eval()
    loaded.requires_grad_(False)
    if bits == 4:
        settle_nf4(loaded, dtype)
    else:
        settle_plain(loaded, dtype)
    if held is not None:
        held.kept_by(loaded)
    malloc_trim()
    return loaded, tokenizer, given, identity_of(name, config, tokenizer, bits)


@contextlib.contextmanager
def _read_not_mapped() -> Iterator[None]:
    """Let transformers read weight files instead of mapping them.

    A mapping stays, with every page that was touched, as long as one tensor of its file does: with the embeddings in 16
    bits, the whole file. transformers itself reads on Windows for a reason like this.
    """
    from transformers import modeling_utils

    opened = getattr(modeling_utils, "safe_open", None)
    if opened is None:  # a transformers that opens files otherwise maps them: more memory, the same weights
        yield
        return

    def reading(file: Any, framework: str = "pt", device: Any = "cpu", **_: Any) -> Any:
        try:
            return opened(file, framework=framework, device=device, backend="pread")
        except TypeError:  # safetensors before 0.8 only maps
            return opened(file, framework=framework, device=device)

    modeling_utils.safe_open = reading
    try:
        yield
    finally:
        modeling_utils.safe_open = opened


def _from_pretrained(name: str, bits: int, device: torch.device, *, offline: bool) -> tuple[Any, Any, Any, torch.dtype]:
    """Configuration, tokenizer, model, and the type that its weights are stored or computed in."""
    config = read_config(name, offline=offline)
    stored_in_4 = check_quantization(name, config)
    if stored_in_4 and bits != 4:
        raise ModelError(
            f"--model {name}: its weights are stored in 4 bits; leave --bits at 4, or take the original model"
        )
    tokenizer = read_tokenizer(name, offline=offline)
    dtype = getattr(config.get_text_config(), "dtype", None) or torch.bfloat16
    options: dict[str, Any] = {
        "offline": offline,
        "quantization_config": nf4_config(dtype) if bits == 4 and not stored_in_4 else None,
        "dtype": dtype,
        "device_map": {"": device},
        "ignore_mismatched_sizes": True,  # they are refused below, by name
        "output_loading_info": True,
    }
    loaded, found = read_model(name, config, **options)
    if prefix := whole_prefix(found):
        del loaded
        loaded, found = read_model(name, config, key_mapping={f"^{re.escape(prefix)}": ""}, **options)
    check_weights(name, loaded, found)
    return config, tokenizer, loaded, dtype


def _settle_end_token(tokenizer: Any, ends: int | list[int] | None) -> None:
    """Where the tokenizer names no token that ends text, the first one that the model names."""
    first = ends[0] if isinstance(ends, list) and ends else ends
    if tokenizer.eos_token_id is None and isinstance(first, int):
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(first)


def _settle_pad_token(tokenizer: Any, rows: int) -> None:
    """A token to pad with that the embedding has a row for; what it is changes nothing, for it is masked."""
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id < rows:
        return
    end = tokenizer.eos_token_id
    tokenizer.pad_token = tokenizer.eos_token if end is not None and end < rows else tokenizer.convert_ids_to_tokens(0)


def identity_of(name: str, config: Any, tokenizer: Any, bits: int) -> str:
    """Hash of what decides hidden states.

    Configuration, vocabulary, the weight files' sizes and first and last bytes, bits; of what was made of a GGUF file,
    that file's content.
    """
    if (content := content_of(Path(name))) is not None:
        return hashlib.sha256(f"{bits}\ngguf {content}\n".encode()).hexdigest()[:32]
    digest = hashlib.sha256(
        f"{bits}\n{config.model_type}\n{config.get_text_config().hidden_size}\n{len(tokenizer)}\n".encode()
    )
    folder = Path(name)
    if not folder.is_dir():
        digest.update(f"{name}@{getattr(config, '_commit_hash', None)}".encode())
        return digest.hexdigest()[:32]
    digest.update((folder / "config.json").read_bytes())
    for file in weight_files(folder):
        size = file.stat().st_size
        with file.open("rb") as weights:
            digest.update(str(size).encode() + weights.read(1 << 16))
            weights.seek(max(size - (1 << 16), 0))
            digest.update(weights.read())
    return digest.hexdigest()[:32]
