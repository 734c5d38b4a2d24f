"""LoRA: which layers of a model it goes on, found by where they stand, whatever a family calls them.

And its update, s B A, scaled.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgepers.errors import ModelError
from edgepers.files import replace_file

__all__ = ["attention_layers", "hash_update", "load_update", "scale_saved", "scale_update"]

_WEIGHTS = "adapter_model.safetensors"

_ATTENTION = re.compile(r"attn|attention")  # self_attn, self_attention, attention, attn
_B = "lora_B"  # in the name of every B


def attention_layers(model: Any) -> list[str]:
    """Endings of the names of all linear layers directly inside an attention block, as PEFT matches them.

    A last name is enough (`q_proj`, `qkv_proj`, `query_key_value`, `dense`) unless a layer elsewhere shares it, as
    GPT-2's
    `c_proj` does: then its parent's is in front.
    """
    from transformers.pytorch_utils import Conv1D

    inside: dict[str, set[str]] = {}
    outside: set[str] = set()
    for name, layer in model.named_modules():
        if not isinstance(layer, (nn.Linear, Conv1D)):
            continue
        parent, _, last = name.rpartition(".")
        block = parent.rpartition(".")[2]
        if _ATTENTION.search(block.lower()):
            inside.setdefault(last, set()).add(block)
        else:
            outside.add(last)
    return sorted(
        {f"{block}.{last}" if last in outside else last for last, blocks in inside.items() for block in blocks}
    )


@torch.no_grad()
def scale_update(model: Any, scale: float) -> None:
    """Multiply what the LoRA layers of a PEFT model add: every B of it."""
    for name, weight in model.named_parameters():
        if _B in name:
            weight.mul_(scale)


def scale_saved(adapter: Path, scale: float) -> None:
    """The same for the adapter in a folder: a crash leaves the old file or the new, whole."""
    from safetensors.torch import load_file, save

    file = adapter / _WEIGHTS
    scaled = {name: weight * scale if _B in name else weight for name, weight in load_file(file).items()}
    replace_file(file, save(scaled, metadata={"format": "pt"}))


def load_update(model: Any, adapter: Path) -> None:
    """Put the weights of the adapter in a folder into a PEFT model that has one of the same rank and layers.

    Raises:
        ModelError: it has another rank or is on other layers.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    saved = load_file(adapter / _WEIGHTS)
    have = get_peft_model_state_dict(model, save_embedding_layers=False)
    if {name: weight.shape for name, weight in saved.items()} != {name: weight.shape for name, weight in have.items()}:
        raise ModelError(f"adapter {adapter.name} has another rank, or is on other layers, than what is to be trained")
    set_peft_model_state_dict(model, saved)


def hash_update(adapter: Path) -> str:
    """A digest of the weights of the adapter in a folder."""
    return hashlib.blake2b((adapter / _WEIGHTS).read_bytes(), digest_size=8).hexdigest()
