"""Linear layers whose weights never change, with LoRA beside some: what autograd and PEFT would keep and copy for them, left out.

PEFT computes LoRA in float32: it copies each input to float32 and keeps the copy. Here an input is kept once, in the type that
the model computes in, as under autocast; the adapter's own weights and their gradients stay float32.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["FrozenLinear", "InputDropout", "Lora", "lean_layers", "weight_of"]

_POOL = 1 << 20  # random places at which a mask may begin


@dataclass(frozen=True, slots=True)
class Lora:
    """What an adapter adds to a frozen layer: scale x (dropped x) A' B'.

    Attributes:
        a: A, float32 [r, in].
        b: B, float32 [out, r].
        scale: alpha / r, over the share that dropout leaves.
        dropped: x with dropout, [T, in].
        mask: 1 where an input was left, 0 where it was dropped, [T, in]; None without dropout.
    """

    a: Tensor
    b: Tensor
    scale: float
    dropped: Tensor
    mask: Tensor | None


class InputDropout:
    """Dropout of the inputs of adapters: masks are windows, at random places, of one pool of random zeros and ones.

    The layers that share an input (q, k, v) share its mask; random numbers cost more than LoRA's products otherwise.
    `draw` makes a new pool; call it at every step.
    """

    def __init__(self) -> None:
        self._pool = torch.empty(0)
        self._input: Callable[[], Tensor | None] = lambda: None
        self._version = 0
        self._found: tuple[Tensor, Tensor | None] | None = None

    def draw(self) -> None:
        """Forget the pool: the next mask draws a new one from torch's generator."""
        self._pool = torch.empty(0)
        self._input = lambda: None

    def __call__(self, x: Tensor, flat: Tensor, share: float) -> tuple[Tensor, Tensor | None]:
        """The dropped input and its mask, for x and x as [T, in]."""
        if not share:
            return flat, None
        if self._input() is x and self._version == x._version and self._found is not None:
            return self._found
        size = flat.numel()
        if self._pool.numel() < size + _POOL or self._pool.dtype != flat.dtype or self._pool.device != flat.device:
            left = torch.empty(2 * size + _POOL, dtype=torch.bool, device=flat.device).bernoulli_(1 - share)
            self._pool = left.to(flat.dtype)
        start = 16 * int(torch.randint(_POOL // 16, ()))
        mask = self._pool[start : start + size].view(flat.shape)
        with torch.no_grad():
            self._found = flat * mask, mask
        self._input, self._version = weakref.ref(x), x._version
        return self._found


class FrozenLinear(torch.autograd.Function):
    """y = x W' + bias (+ LoRA), of which W and the bias are frozen.

    x: [T, in]; W: [out, in], given by a function, so that 4-bit weights are dequantized where they are used and not kept.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor | None, b: Tensor | None, layer: "_Layer", lora: Lora | None) -> Tensor:  # noqa: D102, PLR0917
        y = F.linear(x, layer.weight(), layer.bias)
        ctx.layer, ctx.lora = layer, None
        if lora is not None:
            u = lora.dropped @ lora.a.to(x.dtype).t()
            y.addmm_(u, lora.b.to(x.dtype).t(), alpha=lora.scale)
            ctx.scale, ctx.masked = lora.scale, lora.mask is not None
            ctx.save_for_backward(lora.a, lora.b, lora.dropped, u, lora.mask)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Any, ...]:  # noqa: D102
        gx = gy @ ctx.layer.weight() if ctx.needs_input_grad[0] else None
        if not ctx.saved_tensors:
            return gx, None, None, None, None
        a, b, dropped, u, mask = ctx.saved_tensors
        gb = (gy.t() @ u).float().mul_(ctx.scale)
        gu = (gy @ b.to(gy.dtype)).mul_(ctx.scale)
        ga = (gu.t() @ dropped).float()
        if gx is not None and mask is None:
            gx.addmm_(gu, a.to(gy.dtype))
        elif gx is not None:
            gx.addcmul_(gu @ a.to(gy.dtype), mask)
        return gx, ga, gb, None, None


@dataclass(frozen=True, slots=True)
class _Layer:
    weight: Callable[[], Tensor]
    bias: Any


@contextmanager
def lean_layers(model: Any) -> Iterator[InputDropout]:
    """Let a model's frozen layers, adapted ones among them, compute by `FrozenLinear`; leaving gives them their own code back."""
    changed: list[Any] = []
    dropout = InputDropout()
    try:
        for module in model.modules():
            forward = _forward_of(module, dropout)
            if forward is not None:
                module.forward = forward
                changed.append(module)
        yield dropout
    finally:
        for module in changed:
            del module.forward


def _forward_of(module: Any, dropout: InputDropout) -> Callable[[Tensor], Tensor] | None:
    """What a layer computes, without PEFT's and bitsandbytes' own code; None for layers that need nothing."""
    from bitsandbytes.nn.modules import Linear4bit
    from peft.tuners.lora import LoraLayer

    if isinstance(module, Linear4bit):
        frozen = _Layer(weight_of(module), module.bias)
        return lambda x: _apply(x, frozen, None, None, None)
    if not isinstance(module, LoraLayer) or len(module.active_adapters) != 1:
        return None
    (name,) = module.active_adapters
    base: Any = module.get_base_layer()
    layer = _Layer(weight_of(base), base.bias)
    a: Any = module.lora_A[name].weight
    b: Any = module.lora_B[name].weight
    scale, own_dropout = module.scaling[name], module.lora_dropout[name]

    def adapted(x: Tensor) -> Tensor:
        share = own_dropout.p if own_dropout.training and isinstance(own_dropout, torch.nn.Dropout) else 0.0
        flat = x.reshape(-1, x.shape[-1])
        dropped, mask = dropout(x, flat.detach(), share)
        return _apply(x, layer, a, b, Lora(a.detach(), b.detach(), scale / (1 - share), dropped, mask))

    return adapted


def _apply(x: Tensor, layer: _Layer, a: Tensor | None, b: Tensor | None, lora: Lora | None) -> Tensor:
    y: Tensor = FrozenLinear.apply(x.reshape(-1, x.shape[-1]), a, b, layer, lora)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], -1)


def weight_of(layer: Any) -> Callable[[], Tensor]:
    """W [out, in] of a linear layer, dequantized anew at each call where it is in 4 bits."""
    from transformers.pytorch_utils import Conv1D

    state = getattr(layer.weight, "quant_state", None)
    if state is None:
        return (lambda: layer.weight.t()) if isinstance(layer, Conv1D) else (lambda: layer.weight)  # noqa: PLW0108
    from bitsandbytes.functional import dequantize_4bit

    return lambda: dequantize_4bit(layer.weight.data, state)
