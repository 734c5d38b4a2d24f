"""Take what was learnt elsewhere.

The adapter in PEFT's own format or llama.cpp's, or a model with the adapter in its weights: its GGUF file, or a folder
in 16 bits.
"""

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepers.config import EXPORT_FORMATS, EXPORT_ONTO, Settings
from edgepers.errors import ModelError, StateError, UsageError
from edgepers.export.gguf_adapter import plain_lora, write_adapter
from edgepers.export.gguf_merged import write_merged
from edgepers.files import folder_bytes, replace_folder
from edgepers.model.sources import find_gguf
from edgepers.state.folder import State

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["adapter_folder", "export"]

GGUF_FILE, MERGED_FILE = "adapter.gguf", "model.gguf"
SHARD_BYTES = 1_000_000_000  # of one weight file, and so about what exporting takes beside the loaded model


def export(
    state: State,
    settings: Settings,
    published: str,
    out: Path,
    *,
    form: str,
    adapter: str = "",
    onto: str = EXPORT_ONTO[0],
) -> dict[str, Any]:
    """Write an adapter, or the model that it makes, to a new folder that other programs load.

    Args:
        state: whose adapter.
        settings: of the state.
        published: name of the adapter that is published, "" for none.
        out: the folder to make; it appears whole or not at all.
        form: "peft"; "gguf": the adapter as llama.cpp loads it; "gguf-merged": the base model's GGUF file with the
            adapter in it; or "merged": 16-bit safetensors with tokenizer, which plain transformers loads.
        adapter: another adapter of the state than the published one.
        onto: what the adapter is merged onto: the weights as 4 bits have them, which it was trained on, or the original
            ones.

    Returns:
        What was written: "format", "adapter", "base", "onto", "dtype", "out", "bytes".

    Raises:
        StateError: no such adapter.
        UsageError: the folder has something in it, an unknown form, or a package that the form needs is missing.
        ModelError: the adapter is of a kind that cannot be merged, or has no name in GGUF.
    """
    for name, value, known in (("format", form, EXPORT_FORMATS), ("onto", onto, EXPORT_ONTO)):
        if value not in known:
            raise UsageError(f"--{name} {value!r} is unknown; choose {' or '.join(known)}")
    folder = adapter_folder(state, adapter or published)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out}: there already, and not an empty folder; give a new name")
    out.parent.mkdir(parents=True, exist_ok=True)
    made = out.with_name(f".{out.name}.new")
    shutil.rmtree(made, ignore_errors=True)
    try:
        done: dict[str, Any] = {"onto": None, "dtype": None}
        if form == "peft":
            shutil.copytree(folder, made)
            base = _base_named(made)
        elif form in ("gguf", "gguf-merged"):
            from edgepers.model.config import config_of

            made.mkdir()
            base, config = _base_named(folder), config_of(settings.model)
            if form == "gguf":
                write_adapter(folder, config, made / GGUF_FILE)
                done["dtype"] = "float32"
            else:
                types = write_merged(_base_file(settings.model), folder, config, made / MERGED_FILE)
                done["dtype"] = ", ".join(sorted(types))
        else:
            made.mkdir()
            base, dtype = _write_merged(settings, folder, made, original=onto == "original")
            done = {"onto": onto, "dtype": dtype}
        (made / "README.md").write_text(_card(form, folder.name, base), encoding="utf-8")
        replace_folder(made, out)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return {"format": form, "adapter": folder.name, "base": base, **done, "out": str(out), "bytes": folder_bytes(out)}


def _base_file(model: str | None) -> Path:
    """The GGUF file of the base model.

    Raises:
        UsageError: the state's model is none.
    """
    file = None if model is None else find_gguf(model)
    if file is None:
        name = "the packaged model" if model is None else f"--model {model}"
        raise UsageError(
            f"--format gguf-merged: {name} is no GGUF file; take --format merged and llama.cpp's convert_hf_to_gguf.py"
        )
    return file


def adapter_folder(state: State, name: str) -> Path:
    """Where an adapter of a state lies.

    Raises:
        StateError: there is none of this name; with no name, none is published.
    """
    if not name:
        raise StateError(
            f"state {state.folder}: no adapter is published; run 'edgepers round --state {state.folder}', or name one"
            " (--adapter)"
        )
    folder = state.adapters / name
    if not (folder / "adapter_config.json").is_file():
        there = sorted(entry.parent.name for entry in state.adapters.glob("[0-9]*/adapter_config.json"))
        raise StateError(f"state {state.folder}: no adapter {name}; there are {', '.join(there) or 'none'}")
    return folder


def _base_named(folder: Path) -> str:
    return str(json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path"))


_CARDS = {
    "peft": "A LoRA adapter in PEFT's format",
    "gguf-merged": f"A GGUF model with a LoRA adapter in its weights (`llama-server -m {MERGED_FILE}`)",
    "gguf": f"A LoRA adapter that llama.cpp loads (`llama-server -m BASE.gguf --lora {GGUF_FILE}`)",
    "merged": "A 16-bit model with a LoRA adapter merged into its weights",
}


def _card(form: str, adapter: str, base: str) -> str:
    return (
        f"{_CARDS[form]}, made by edgepers on its owner's own device.\n\n- base model: {base}\n- adapter: {adapter}\n"
    )


def _write_merged(settings: Settings, adapter: Path, made: Path, *, original: bool) -> tuple[str, str]:
    """A model folder, weights going out a file at a time; the base's name and the type of the weights."""
    import torch

    from edgepers.model.language_model import LanguageModel
    from edgepers.model.loading import check_memory, folder_of, import_libraries, quiet
    from edgepers.model.pretrained import read_config, read_tokenizer

    import_libraries()  # quietly: in 16 bits nothing else would
    deltas = _deltas(adapter)
    bits = 16 if original else settings.bits
    check_memory(settings.model, bits, settings.memory)
    llm = LanguageModel.load(settings.model, bits=bits)
    place = folder_of(llm.name, bits)
    with quiet():
        config = read_config(place, offline=True)  # it has just been loaded, so it is there
        dtype = config.dtype if config.dtype in (torch.bfloat16, torch.float16) else torch.bfloat16
        config.dtype = dtype
        if hasattr(config, "quantization_config"):  # of a base that was saved in 4 bits
            del config.quantization_config
        config.save_pretrained(made)
        read_tokenizer(place, offline=True).save_pretrained(made)
        if llm.generation_config is not None:
            llm.generation_config.save_pretrained(made)
    _write_shards(((name, weight.to(dtype)) for name, weight in _merged(llm.base, config, deltas)), made)
    if deltas:
        raise ModelError(
            f"adapter {adapter.name}: the model has no layer {min(deltas)}; it was trained on another base model"
        )
    return llm.name, str(dtype).removeprefix("torch.")


def _deltas(adapter: Path) -> dict[str, Callable[[], "Tensor"]]:
    """By layer, what the adapter adds to its weight [out, in], in float32."""
    config, weights = plain_lora(adapter)
    scale = config["lora_alpha"] / config["r"]

    def delta(down: str) -> "Tensor":
        product: Tensor = weights[down.replace(".lora_A.", ".lora_B.")].float() @ weights[down].float()
        return product * float(scale)

    return {
        name.removeprefix("base_model.model.").partition(".lora_A.")[0]: functools.partial(delta, name)
        for name in weights
        if ".lora_A." in name
    }


def _merged(model: Any, config: Any, deltas: dict[str, Callable[[], "Tensor"]]) -> Iterator[tuple[str, "Tensor"]]:
    """Every weight under its name on disk, in float32 and one at a time.

    What `deltas` has for it is added and taken out.
    """
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit
    from transformers.pytorch_utils import Conv1D

    from edgepers.model.pretrained import build_model

    with torch.device("meta"):
        stored = dict(build_model(config).named_modules())
    seen: set[int] = set()
    for place, layer in model.named_modules():
        buffers = [
            (name, b) for name, b in layer.named_buffers(recurse=False) if name not in layer._non_persistent_buffers_set
        ]
        for name, parameter in (*layer.named_parameters(recurse=False), *buffers):
            if parameter.data_ptr() in seen:  # a head that is tied to the embedding
                continue
            seen.add(parameter.data_ptr())
            weight = parameter.data
            if isinstance(layer, Linear4bit) and name == "weight":
                weight = dequantize_4bit(weight, parameter.quant_state).view(layer.out_features, layer.in_features)
            if not weight.is_floating_point():
                yield f"{place}.{name}", weight.cpu()
                continue
            weight = weight.float().cpu()
            own = isinstance(layer, Conv1D)  # GPT-2's layers keep [in, out]; 4 bits have made plain ones of them
            if name == "weight" and place in deltas:
                delta = deltas.pop(place)()
                weight = weight + (delta.T if own else delta)
            if name == "weight" and isinstance(stored[place], Conv1D) and not own:
                weight = weight.T
            yield f"{place}.{name}".removeprefix("."), weight


def _write_shards(weights: Iterator[tuple[str, "Tensor"]], folder: Path) -> None:
    """Safetensors files of about a gigabyte, with the index that transformers reads where there are several."""
    from safetensors.torch import save_file

    shard: dict[str, torch.Tensor] = {}
    files: list[tuple[Path, list[str]]] = []
    size = total = 0

    def close() -> None:
        nonlocal shard, size
        path = folder / f"part-{len(files)}"
        save_file(shard, path, metadata={"format": "pt"})
        files.append((path, list(shard)))
        shard, size = {}, 0

    for name, weight in weights:
        if shard and size + weight.nbytes > SHARD_BYTES:
            close()
        shard[name] = weight.contiguous()
        size += weight.nbytes
        total += weight.nbytes
    close()
    if len(files) == 1:
        files[0][0].rename(folder / "model.safetensors")
        return
    names = [f"model-{i:05}-of-{len(files):05}.safetensors" for i in range(1, len(files) + 1)]
    for (path, _), name in zip(files, names, strict=True):
        path.rename(folder / name)
    places = {key: name for (_, keys), name in zip(files, names, strict=True) for key in keys}
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
