"""Frozen lower layers run once: with an adapter on the top layers alone, what the others say of a set never changes.

Their last states are kept for every set of a training run, in 16 or 8 bits a number, and handed to the first adapted
layer.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgepers.model.forwards import replaced_forwards
from edgepers.model.weights import CausalModel, Example
from edgepers.train.layout import MICRO_BATCH_TOKENS
from edgepers.train.packing import ROUNDED, Packed, bins, pack

__all__ = ["FrozenPrefix", "from_8_bits", "lower_layers", "to_8_bits"]


class _Reached(Exception):
    """The lower layers have said what they say; the upper ones need not run."""


class FrozenPrefix:
    """The states that the first adapted layer is given, by example.

    Args:
        layers: of the decoder, in order.
        below: how many of them are frozen.
        bits: of a kept number: 16 (the model's own type where that is smaller than float32, else bfloat16) or 8.
    """

    def __init__(self, layers: nn.ModuleList, below: int, bits: int) -> None:
        self._layers = layers
        self._below = below
        self._bits = bits
        self._kept: dict[Example, tuple[Tensor, Tensor | None]] = {}
        self._here: Tensor | None = None

    @torch.no_grad()
    def remember(
        self,
        llm: CausalModel,
        states_of: Callable[[Packed], Tensor],
        examples: Sequence[Example],
        micro_batch_tokens: int = MICRO_BATCH_TOKENS,
    ) -> None:
        """Run the lower layers on examples that they have not seen."""
        new = list(dict.fromkeys(example for example in examples if example not in self._kept))
        for group in bins([len(example.ids) for example in new], micro_batch_tokens):
            chosen = [new[i] for i in group]
            packed = pack(chosen, llm.device)
            states = self._states_below(states_of, packed)
            for example, part in zip(chosen, states[0, : sum(packed.lengths)].split(packed.lengths), strict=True):
                self._kept[example] = to_8_bits(part) if self._bits == 8 else (_in_16_bits(part), None)

    def _states_below(self, states_of: Callable[[Packed], Tensor], packed: Packed) -> Tensor:
        found: list[Tensor] = []

        def stop(_module: Any, _arguments: Any, output: Any) -> None:
            found.append(output if isinstance(output, Tensor) else output[0])
            raise _Reached

        hook = self._layers[self._below - 1].register_forward_hook(stop)
        try:
            states_of(packed)
        except _Reached:
            pass
        finally:
            hook.remove()
        return found[0]

    def hand_over(self, examples: Sequence[Example], dtype: torch.dtype, shared: int = 0) -> None:
        """Give out the cached states of these examples at the next forward pass: `shared` ones, then the others."""
        parts = (self._kept[example] for example in examples)
        whole = [numbers if scale is None else from_8_bits(numbers, scale) for numbers, scale in parts]
        states = torch.cat([whole[0][:shared], *(part[shared:] for part in whole)])
        self._here = F.pad(states, (0, 0, 0, -len(states) % ROUNDED))[None].to(dtype)

    @property
    def kept_bytes(self) -> int:
        """Bytes of all states that are cached."""
        return sum(
            numbers.nbytes + (scale.nbytes if scale is not None else 0) for numbers, scale in self._kept.values()
        )

    @contextmanager
    def passed_over(self) -> Iterator[None]:
        """Let the frozen layers give what was handed over instead of computing it."""

        def give(states: Tensor, *_: Any, **__: Any) -> Tensor:
            return states if self._here is None else self._here

        try:
            with replaced_forwards((layer, give) for layer in self._layers[: self._below]):
                yield
        finally:
            self._here = None


def lower_layers(llm: CausalModel, top: int, bits: int) -> FrozenPrefix | None:
    """Make what caches the states under the `top` layers.

    None where a model has no more layers than these, or where its layers cannot be told.
    """
    count = int(llm.decoder.config.num_hidden_layers)
    found = [module for module in llm.decoder.children() if isinstance(module, nn.ModuleList) and len(module) == count]
    return FrozenPrefix(found[0], count - top, bits) if len(found) == 1 and 0 < top < count else None


def _in_16_bits(states: Tensor) -> Tensor:
    return states.to(torch.bfloat16) if states.dtype == torch.float32 else states.clone()


def to_8_bits(states: Tensor) -> tuple[Tensor, Tensor]:
    """States [n, d] -> int8 [n, d] and float32 [n, 1], the value of one step: each token by its largest number."""
    scale = states.float().abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
    return (states.float() / scale).round().to(torch.int8), scale


def from_8_bits(numbers: Tensor, scale: Tensor) -> Tensor:
    """Restore float32 [n, d] states from their 8-bit form."""
    return numbers * scale
