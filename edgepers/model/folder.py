"""A model's folder before anything of it is loaded.

Whole, in safetensors, with a tokenizer, and not quantized by somebody else.
"""

import json
from pathlib import Path
from typing import Any

from edgepers.errors import ModelError

__all__ = ["check_config", "check_folder", "check_quantization", "weight_files", "weight_headers"]

_ONE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
_POINTER = b"version https://git-lfs"  # what Git LFS leaves where a file was not fetched
_MOST_HEADER = 100_000_000  # bytes; safetensors itself refuses more


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers reads, in order: one, or the shards of an index; no others that lie beside them.

    Raises:
        ModelError: there are none, or the index cannot be read.
    """
    if (folder / _ONE).exists():
        return [folder / _ONE]
    index = folder / _INDEX
    if index.exists():
        _check_fetched(folder, index)
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError):
            raise ModelError(f"--model {folder}: {index.name} is not an index of weights; download it again") from None
        return sorted(folder / str(name) for name in names)
    if sorted(folder.glob("model-*.safetensors")):
        raise ModelError(f"--model {folder}: shards of weights without {_INDEX}; download that file, too")
    if sorted(folder.glob("*.safetensors")):
        others = ", ".join(sorted(file.name for file in folder.glob("*.safetensors"))[:3])
        raise ModelError(f"--model {folder}: {others}, but no {_ONE}; download the weights in Hugging Face format")
    pickled = sorted(file.name for kind in ("*.bin", "*.pt", "*.pth") for file in folder.glob(kind))
    if pickled:
        raise ModelError(
            f"--model {folder}: no *.safetensors weights in this folder, only {pickled[0]}, which may hold code;"
            " download"
            " the safetensors, or convert from pickle elsewhere"
        )
    raise ModelError(f"--model {folder}: no *.safetensors weights in this folder; download them")


def weight_headers(folder: Path) -> dict[str, dict[str, Any]]:
    """Of every weight, by name: its "dtype", "shape" and "data_offsets", as safetensors has them.

    Raises:
        ModelError: a file is missing, not fetched, cut or damaged.
    """
    found: dict[str, dict[str, Any]] = {}
    for file in weight_files(folder):
        if not file.exists():
            raise ModelError(f"--model {folder}: {file.name}, which {_INDEX} names, is missing; download it")
        _check_fetched(folder, file)
        found |= {name: tensor for name, tensor in _header(folder, file).items() if name != "__metadata__"}
    return found


def _header(folder: Path, file: Path) -> dict[str, Any]:
    whole = file.stat().st_size
    try:
        with file.open("rb") as weights:
            size = int.from_bytes(weights.read(8), "little")
            header = dict(json.loads(weights.read(size))) if 0 < size <= min(whole, _MOST_HEADER) else {}
        ends = [int(tensor["data_offsets"][1]) for name, tensor in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, IndexError):
        header, ends = {}, []
    if not header:
        raise ModelError(
            f"--model {folder}: {file.name} is not a safetensors file; check the folder, download it again"
        )
    needs = 8 + size + max(ends, default=0)
    if whole < needs:
        raise ModelError(
            f"--model {folder}: {file.name} is cut: {whole:,} bytes of {needs:,}; check the folder, download it again"
        )
    return header


def _check_fetched(folder: Path, file: Path) -> None:
    with file.open("rb") as opened:
        if opened.read(len(_POINTER)) == _POINTER:
            raise ModelError(
                f"--model {folder}: {file.name} is a pointer of Git LFS, not the file; fetch it with 'git lfs pull', or"
                " download the model with 'hf download'"
            )


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be loaded.

    Raises:
        ModelError: names the file and the cure.
    """
    check_config(folder)
    weight_headers(folder)
    present = [folder / name for name in _TOKENIZERS if (folder / name).exists()]
    if not [file for file in present if file.name != "tokenizer_config.json"]:
        raise ModelError(f"--model {folder}: no tokenizer in this folder; copy tokenizer.json from the same model")
    for file in present:
        _check_fetched(folder, file)


def check_config(folder: Path) -> None:
    """Refuse a configuration that is none, or not the file itself.

    Raises:
        ModelError: names the cure.
    """
    file = folder / "config.json"
    _check_fetched(folder, file)
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(
            f"--model {folder}: config.json is not JSON ({error}); check the folder, download it again"
        ) from None
    if not isinstance(given, dict) or "model_type" not in given:
        raise ModelError(f"--model {folder}: config.json names no model_type; check the folder, download it again")


def check_quantization(name: str, config: Any) -> bool:
    """Whether a model's weights are stored in bitsandbytes' 4 bits already; False where they are stored plainly.

    Raises:
        ModelError: they are quantized in a way that cannot be trained on here.
    """
    of: Any = {}
    for part in (config, config.get_text_config()):
        of = of or getattr(part, "quantization_config", None) or {}
    given = of if isinstance(of, dict) else of.to_dict()
    if getattr(config, "quantization", None) and not given:
        given = {"quant_method": "mlx"}
    method = str(getattr(given.get("quant_method"), "value", given.get("quant_method") or "")).lower()
    if not given or (method in ("", "bitsandbytes") and given.get("load_in_4bit")):
        return bool(given)
    kind = "bitsandbytes' 8 bits" if given.get("load_in_8bit") else method or "an unknown form"
    raise ModelError(
        f"--model {name}: its weights are quantized ({kind}) and cannot be trained on; take the original model in 16"
        " bits, or one in bitsandbytes' 4 bits"
    )
