"""LoRA: which layers of a model it goes on, found by where they stand, whatever a family calls them."""

import re
from typing import Any

from torch import nn

__all__ = ["attention_layers"]

_ATTENTION = re.compile(r"attn|attention")  # self_attn, self_attention, attention, attn


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
