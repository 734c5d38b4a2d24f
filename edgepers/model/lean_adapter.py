"""What a model's answers cost beyond its products, taken away.

Copies at its head, and PEFT's steps around each adapted layer.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["contiguous_head", "lean_adapter"]

_SIDES = ("q_proj k_proj v_proj", "gate_proj up_proj")  # last names of layers that a block gives the same states
_MANY = 64  # rows from which copies to float32 and back cost a CPU more than its 16-bit products of a few rows do


def contiguous_head(model: Any) -> None:
    """Let the head see the last tokens' states [B, 1, d] as rows that lie together.

    `generate` takes them out of [B, n, d] as a view. For such a view a 16-bit product on a CPU becomes B products, for
    each of which the head's weight is copied: 4 s and 1.5 GB instead of 0.2 s for 16 prompts to a model of 185 M
    parameters (benchmarks/LOG.md).
    """
    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(lambda _, given: (_as_rows(given[0]), *given[1:]))


def _as_rows(states: Tensor) -> Tensor:
    return states.reshape(-1, states.shape[-1]).contiguous().view(states.shape)


def lean_adapter(model: Any) -> None:
    """Let the adapted layers of a PEFT model answer without PEFT's steps, to the same result but for rounding.

    Layers in float32 take one product with W + s B A, a copy of their weight; others add s B (A x), as PEFT does, since
    16 bits would round the sum of weights and 4 bits are not added to: for a prompt's many rows, and on a GPU, in the
    type of x, as in training, else in float32. Layers that are given the same states share the product with their A.
    For answering
    alone: nothing is kept for a backward pass, there is no dropout. Layers that are not plain LoRA (DoRA, a bias, two
    adapters) stay as they are. `PeftModel.unload` takes all of this off again.
    """
    from peft.tuners.lora import LoraLayer

    layers: dict[str, Any] = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    plain = {name: parts for name, layer in layers.items() if (parts := _plain(layer)) is not None}
    added = {name: parts for name, parts in plain.items() if not parts.merges}
    for name, parts in plain.items():
        if parts.merges:
            layers[name].forward = _merged(layers[name], parts)
    for names in _together(added):
        down = _Down([added[name].down for name in names])
        for number, name in enumerate(names):
            layers[name].forward = _added(layers[name], added[name], down, number)


@dataclass(frozen=True, slots=True)
class _Parts:
    """An adapted layer: its base layer, A [r, d] and s B, transposed [r, out]."""

    base: Any
    down: Tensor
    up: Tensor

    @property
    def merges(self) -> bool:
        return type(self.base) is torch.nn.Linear and self.base.weight.dtype == torch.float32


def _plain(module: Any) -> _Parts | None:
    names = list(module.active_adapters)
    if len(names) != 1 or names[0] not in module.lora_A:
        return None
    name = names[0]
    if name in getattr(module, "lora_variant", ()) or module.use_dora.get(name) or module.lora_bias.get(name):
        return None
    up = (module.lora_B[name].weight.detach() * module.scaling[name]).t().contiguous()
    return _Parts(module.get_base_layer(), module.lora_A[name].weight.detach(), up)


def _merged(module: Any, parts: _Parts) -> Callable[..., Tensor]:
    base = parts.base
    weight = torch.addmm(base.weight.detach().t(), parts.down.t(), parts.up).t().contiguous()
    return lambda x, *_, **__: F.linear(x, base.weight if module.disable_adapters else weight, base.bias)


def _together(names: Iterable[str]) -> list[list[str]]:
    """Layers that are given the same states, side by side; the others alone."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names:
        parent, _, last = name.rpartition(".")
        groups.setdefault((parent, next((side for side in _SIDES if last in side.split()), last)), []).append(name)
    return list(groups.values())


class _Down:
    """A x of layers that are given the same states, in one product; asked for by each of them in turn."""

    def __init__(self, downs: Sequence[Tensor]) -> None:
        self._down = _Both(torch.cat(list(downs)) if len(downs) > 1 else downs[0])
        self._ends = [0, *itertools.accumulate(len(down) for down in downs)]
        self._states: Tensor | None = (
            None  # held while some layer has still to ask, so that no other can be taken for it
        )
        self._least: Tensor | None = None
        self._asked = 0

    def __call__(self, x: Tensor, number: int) -> Tensor:
        """Of layer `number`: [rows of x, r], in the type that `_in_its_type` says."""
        if self._least is None or x is not self._states:
            self._states, self._asked = x, 0
            rows = x.reshape(-1, x.shape[-1])
            down = self._down.like(rows)
            self._least = F.linear(rows.to(down.dtype), down)
        least = self._least[:, self._ends[number] : self._ends[number + 1]]
        self._asked += 1
        if self._asked == len(self._ends) - 1:
            self._states = self._least = None
        return least


class _Both:
    """A weight in float32, and from its first use in the type of what it is multiplied with, too."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = self._narrow = weight

    def like(self, rows: Tensor) -> Tensor:
        """The one for these rows."""
        if not _in_its_type(rows):
            return self._weight
        if self._narrow.dtype != rows.dtype:
            self._narrow = self._weight.to(rows.dtype)
        return self._narrow


def _in_its_type(rows: Tensor) -> bool:
    return len(rows) >= _MANY or rows.device.type != "cpu"


def _added(module: Any, parts: _Parts, down: _Down, number: int) -> Callable[..., Tensor]:
    base, both = parts.base, _Both(parts.up)

    def forward(x: Tensor, *_: Any, **__: Any) -> Tensor:
        y: Tensor = base(x)
        if module.disable_adapters:
            return y
        rows = y.view(-1, y.shape[-1])
        up = both.like(rows)
        if up.dtype == rows.dtype:
            rows.addmm_(down(x, number), up)
        else:
            rows.copy_(torch.addmm(rows.to(up.dtype), down(x, number), up))
        return y

    return forward
