"""A LoRA adapter as llama.cpp loads it: `llama-server -m base.gguf --lora adapter.gguf`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepers.errors import ModelError
from edgepers.model.gguf_names import GgufNames

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["named_factors", "plain_lora", "write_adapter", "write_nothing"]

_BEYOND = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "modules_to_save")


def plain_lora(adapter: Path) -> "tuple[dict[str, Any], dict[str, Any]]":
    """Configuration and weights of an adapter that is LoRA and nothing more: by PEFT's name, float32 or 16 bits.

    Raises:
        ModelError: names what else is in it.
    """
    from safetensors.torch import load_file

    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    weights = load_file(adapter / "adapter_model.safetensors")
    beyond = [name for name in _BEYOND if config.get(name)]
    beyond += [name for name in weights if ".lora_A." not in name and ".lora_B." not in name][:1]
    if beyond:
        raise ModelError(
            f"adapter {adapter.name}: more than plain LoRA ({beyond[0]}), which cannot be merged; export it with"
            " --format peft"
        )
    return config, weights


def write_adapter(adapter: Path, config: Any, file: Path) -> str:
    """Write an adapter's weights in float32 under GGUF's names.

    llama.cpp multiplies by alpha / rank, and reads the rank off the shapes.

    Args:
        adapter: PEFT's folder.
        config: of the base model (transformers').
        file: to write.

    Returns:
        The architecture, in llama.cpp's name.

    Raises:
        ModelError: an architecture, a kind of adapter or a layer that has no name there.
    """
    names = GgufNames.of(config)
    alpha, factors = named_factors(adapter, names)
    tensors: dict[str, Any] = {}
    for name, (up, down) in factors.items():
        tensors |= {f"{name}.lora_a": down.numpy(), f"{name}.lora_b": up.numpy()}
    _write(file, names.architecture, alpha, tensors)
    return names.architecture


def named_factors(adapter: Path, names: GgufNames) -> "tuple[float, dict[str, tuple[Tensor, Tensor]]]":
    """An adapter's alpha and, by GGUF's name of a weight, what it adds to it, but for alpha / r.

    Args:
        adapter: PEFT's folder.
        names: of the base model's weights.

    Returns:
        The two factors in float32, [out, r] with its rows in GGUF's order, and [r, in].

    Raises:
        ModelError: a kind of adapter or a layer that has no name there.
    """
    settings, weights = plain_lora(adapter)
    found = {}
    for key, down in sorted(weights.items()):
        layer, a, _ = key.removeprefix("base_model.model.").partition(".lora_A.")
        if not a:
            continue
        if not (name := names.name(f"{layer}.weight")):
            raise ModelError(
                f"adapter {adapter.name}: layer {layer} has no name in GGUF's {names.architecture}; export it with"
                " --format merged"
            )
        up = names.rows(name, weights[key.replace(".lora_A.", ".lora_B.")])
        found[name] = up.float().contiguous(), down.float().contiguous()
    return float(settings["lora_alpha"]), found


def write_nothing(config: Any, file: Path) -> None:
    """Write an adapter that changes nothing, for a server that is started with a file before there is one.

    Args:
        config: of the base model (transformers').
        file: to write.

    Raises:
        ModelError: an architecture that has no name there.
    """
    names = GgufNames.of(config)
    text = config.get_text_config()
    heads = int(text.num_attention_heads)
    size = int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    name = names.name("model.layers.0.self_attn.o_proj.weight")
    down = np.zeros((1, heads * size), np.float32)
    up = np.zeros((int(text.hidden_size), 1), np.float32)
    _write(file, names.architecture, 1.0, {f"{name}.lora_a": down, f"{name}.lora_b": up})


def _write(file: Path, architecture: str, alpha: float, tensors: dict[str, Any]) -> None:
    import gguf

    writer = gguf.GGUFWriter(file, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    for name, data in tensors.items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
