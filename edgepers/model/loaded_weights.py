"""Weights that a model has and its files have not, or the other way round: nothing is trained on random numbers."""

import re
from collections.abc import Iterable
from typing import Any

from edgepers.errors import ModelError

__all__ = ["check_weights", "whole_prefix"]

_BUFFERS = re.compile(  # that old files keep and models now make themselves
    r"rotary_emb\.inv_freq$|\.masked_bias$|(?:attn|attention)\.bias$|position_ids$|\.rope\.freqs$"
)
_NAMED = 3  # weights that an error names


def whole_prefix(loaded: dict[str, Any]) -> str:
    """What stands before the name of every weight in the files and is no part of a name: `_orig_mod.`, `module.`.

    "" for nothing.

    Args:
        loaded: transformers' loading information.
    """
    missing, unexpected = set(loaded["missing_keys"]), set(loaded["unexpected_keys"])
    if not missing or not unexpected:
        return ""
    parts = min(unexpected).split(".")
    for count in range(1, len(parts)):
        prefix = ".".join(parts[:count]) + "."
        named = {name.removeprefix(prefix) for name in unexpected if name.startswith(prefix)}
        if len(named) == len(unexpected) and named & missing:
            return prefix
    return ""


def check_weights(name: str, model: Any, loaded: dict[str, Any]) -> None:
    """Refuse a model whose weights are not all in its files, as they are shaped there, or whose files have more.

    Args:
        name: of the model, for the error.
        model: of transformers.
        loaded: its loading information.

    Raises:
        ModelError: names some weights and counts the others.
    """
    own = {buffer for buffer, _ in model.named_buffers()}
    ends = tuple(f".{buffer}" for buffer in own)
    unexpected = {
        weight
        for weight in loaded["unexpected_keys"]
        if not _BUFFERS.search(weight) and weight not in own and not f".{weight}".endswith(ends)
    }
    if model.config.get_text_config().tie_word_embeddings:  # a head that is stored once more
        unexpected = {weight for weight in unexpected if not weight.endswith("lm_head.weight")}
    wrong = []
    if loaded["missing_keys"]:
        wrong.append(f"{_some(loaded['missing_keys'])} missing from its files")
    if unexpected:
        wrong.append(f"{_some(unexpected)} in its files and not in the model")
    if loaded["mismatched_keys"]:
        weight, there, wanted = min(loaded["mismatched_keys"], key=str)
        more = len(loaded["mismatched_keys"]) - 1
        wrong.append(
            f"{weight} is {list(there)} in its files, not {list(wanted)}" + (f" ({more} more)" if more else "")
        )
    if wrong:
        raise ModelError(
            f"--model {name}: {'; '.join(wrong)}; download it again, or take a config.json that belongs to the weights"
        )


def _some(weights: Iterable[str]) -> str:
    """Some names and how many there are beside them."""
    ordered = sorted(weights)
    more = len(ordered) - _NAMED
    shown = ", ".join(ordered[:_NAMED])
    return f"{shown} and {more} more are" if more > 0 else f"{shown} {'is' if len(ordered) == 1 else 'are'}"
