"""What was computed of the talks that were answered last: the next turn of one reads only what is new in it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["PrefixCache"]

MOST_TALKS = 8
MOST_BYTES = 200_000_000
LEAST_SHARED = 16  # tokens; every prompt of a model begins with the same few


@dataclass(frozen=True, slots=True)
class _Talk:
    """A talk's tokens and their states, as transformers keeps them, under one adapter."""

    adapter: str
    ids: tuple[int, ...]
    states: Any


class PrefixCache:
    """Attention states of whole talks, a few of them, within a bound of bytes; the one used longest ago goes first.

    States are taken out while they are used, since using them changes them. Models that keep other states than those of
    full attention are not remembered: theirs cannot be cut back to where two talks part.

    Args:
        most_bytes: of all states.
        most_talks: how many there may be.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, most_talks: int = MOST_TALKS) -> None:
        self._most_bytes = most_bytes
        self._most_talks = most_talks
        self._talks: list[_Talk] = []  # the one used last is last
        self.reused_tokens = 0  # that did not have to be read again, so far

    def take(self, adapter: str, ids: Sequence[int], config: Any) -> Any:
        """States of as long a beginning of these tokens as is known, at least the last token not among them.

        Args:
            adapter: over the model.
            ids: of a prompt.
            config: of the model, for states that begin empty.

        Returns:
            transformers' cache; None where this model's cannot be kept.
        """
        from transformers import DynamicCache

        best, shared = None, LEAST_SHARED - 1
        for talk in self._talks:
            if talk.adapter == adapter and (same := _shared(talk.ids, ids)) > shared:
                best, shared = talk, same
        if best is None:
            empty = DynamicCache(config=config)
            return empty if all(type(layer).__name__ == "DynamicLayer" for layer in empty.layers) else None
        if 2 * shared >= len(best.ids):
            self._talks.remove(best)
            states = best.states
        else:  # another talk that begins alike, by the same system turn for example, and may go on
            states = copy.deepcopy(best.states)
        states.crop(-(states.get_seq_length() - shared))
        self.reused_tokens += shared
        return states

    def put(self, adapter: str, ids: Sequence[int], states: Any) -> None:
        """Keep the states of a talk; the last token, just written, has none yet."""
        self._talks.append(_Talk(adapter, tuple(ids[: states.get_seq_length()]), states))
        while self._talks and (len(self._talks) > self._most_talks or self.kept_bytes > self._most_bytes):
            del self._talks[0]

    @property
    def kept_bytes(self) -> int:
        """Of all states."""
        tensors = (t for talk in self._talks for layer in talk.states.layers for t in (layer.keys, layer.values))
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)

    def clear(self) -> None:
        """Forget all of them."""
        self._talks.clear()


def _shared(known: Sequence[int], ids: Sequence[int]) -> int:
    """Tokens that both begin with, but for the last of `ids`."""
    most = min(len(known), len(ids) - 1)
    return next((at for at in range(most) if known[at] != ids[at]), most)
