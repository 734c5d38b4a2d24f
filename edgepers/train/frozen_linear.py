"""Linear layers whose weights never change, with LoRA beside some: what autograd and PEFT would keep and copy for them, left out.

PEFT computes LoRA in float32: it copies each input to float32 and keeps the copy. Here an input is kept once, in the
type that the model computes in, as under autocast; the adapter's own weights and their gradients stay float32.
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

from edgepers.hashing import mix
from edgepers.model.nf4 import is_quantized, stored_weight
from edgepers.train.nf4 import LowRank
from edgepers.train.nf4_matmul import Fused, FusedProducts

__all__ = ["FrozenLinear", "InputDropout", "Lora", "lean_layers"]

WeightOf = Callable[[Any], Callable[[], Tensor]]  # a layer's W [out, in], by function
_POOL = 1 << 20  # random places at which a mask may begin


@dataclass(frozen=True, slots=True)
class Lora:
    """What an adapter adds to a frozen layer: scale x (dropped x) A' B'.

    Attributes:
        scale: alpha / r, over the share that dropout leaves.
        dropped: x with dropout, [T, in].
        mask: 1 where an input was left, 0 where it was dropped, [T, in]; None without dropout.
    """

    scale: float
    dropped: Tensor
    mask: Tensor | None


class InputDropout:
    """Dropout of the inputs of adapters, a share of them: masks are windows of one pool of random zeros and ones, a window a layer.

    Random numbers would cost more than LoRA's products otherwise. The layers that share an input (q, k, v) share its
    mask. Where a window begins is a function of seed, step, micro-batch and layer, so that a layer that is computed
    again, for its gradient or after an interruption, has the mask that it had.

    Args:
        seed: of all masks.
        padded: sets of a micro-batch are padded to the longest; else they stand end to end.
    """

    def __init__(self, seed: int = 0, *, padded: bool = False) -> None:
        self.padded = padded
        self.share = 0.0
        self.widest = 0
        self._seed = seed
        self._at = (0, 0)
        self._drawn = -1
        self._pool = torch.empty(0)
        self._input: Callable[[], Tensor | None] = lambda: None
        self._version = 0
        self._found: tuple[Tensor, Tensor | None] | None = None

    def begin(self, step: int, micro_batch: int, tokens: int, dtype: torch.dtype, device: torch.device) -> None:
        """Before a micro-batch of so many tokens, padding among them."""
        self._at = step, micro_batch
        self._input = lambda: None
        size = tokens * self.widest + _POOL
        if self.share and (self._drawn != step or self._pool.numel() < size):
            generator = None if device.type == "meta" else torch.Generator(device).manual_seed(mix(self._seed, step))
            self._pool = (
                torch.empty(size, dtype=torch.bool, device=device)
                .bernoulli_(1 - self.share, generator=generator)
                .to(dtype)
            )
            self._drawn = step

    def add(self, width: int, share: float) -> None:
        """Serve a layer with so many inputs, of which it drops a share."""
        self.widest, self.share = max(self.widest, width), share

    def __call__(self, layer: int, x: Tensor, flat: Tensor) -> tuple[Tensor, Tensor | None]:
        """The dropped input and its mask, for the x of a layer and x as [T, in]."""
        if not self.share:
            return flat, None
        if self._input() is x and self._version == x._version and self._found is not None:
            return self._found
        start = 16 * (mix(self._seed, *self._at, layer) % (_POOL // 16))
        mask = self._pool[start : start + flat.numel()].view(flat.shape)
        self._found = flat * mask, mask
        self._input, self._version = weakref.ref(x), x._version
        return self._found


class FrozenLinear(torch.autograd.Function):
    """y = x W' + bias (+ LoRA), of which W and the bias are frozen.

    x: [T, in]; W: [out, in], given by a function, so that 4-bit weights are dequantized where they are used and not
    kept.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor | None, b: Tensor | None, layer: "_Layer", lora: Lora | None) -> Tensor:  # noqa: D102, PLR0917
        ctx.layer = layer
        if lora is None or a is None or b is None:
            return layer.product(x)
        u = lora.dropped @ a.to(x.dtype).t()
        ctx.scale = lora.scale
        ctx.save_for_backward(a, b, lora.dropped, u, lora.mask)
        return layer.product(x, LowRank(u, b.t(), lora.scale))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Any, ...]:  # noqa: D102
        layer: _Layer = ctx.layer
        saved = ctx.saved_tensors  # once: a layer that is computed again gives them once
        if not saved:
            return layer.gradient(gy) if ctx.needs_input_grad[0] else None, None, None, None, None
        a, b, dropped, u, mask = saved
        gb = (gy.t() @ u).float().mul_(ctx.scale)
        gu = (gy @ b.to(gy.dtype)).mul_(ctx.scale)
        ga = (gu.t() @ dropped).float()
        return layer.gradient(gy, LowRank(gu, a, mask=mask)) if ctx.needs_input_grad[0] else None, ga, gb, None, None


@dataclass(frozen=True, slots=True)
class _Layer:
    weight: Callable[[], Tensor]
    bias: Any
    fused: Fused | None = None  # in place of `weight`

    def product(self, x: Tensor, added: LowRank | None = None) -> Tensor:
        """X W' + bias + LoRA's part: [T, in] to [T, out]."""
        if self.fused is not None:
            return self.fused.forward(x, added, self.bias)
        y = F.linear(x, self.weight(), self.bias)
        return y if added is None else y.addmm_(added.low, added.high.to(y.dtype), alpha=added.scale)

    def gradient(self, gy: Tensor, added: LowRank | None = None) -> Tensor:
        """Of x, by that of y and LoRA's part: [T, out] to [T, in]."""
        if self.fused is not None:
            return self.fused.backward(gy, added)
        gx = gy @ self.weight()
        if added is None:
            return gx
        high = added.high.to(gx.dtype)
        return gx.addmm_(added.low, high) if added.mask is None else gx.addcmul_(added.low @ high, added.mask)


@contextmanager
def lean_layers(
    model: Any,
    *,
    seed: int = 0,
    resident_bytes: int = 0,
    padded: bool = False,
    weight_of: "WeightOf | None" = None,
    fused: FusedProducts | None = None,
) -> Iterator[InputDropout]:
    """Let a model's frozen layers, adapted ones among them, compute by `FrozenLinear`; leaving gives them their own code back.

    Args:
        model: with an adapter.
        seed: of dropout.
        resident_bytes: of 4-bit weights that are dequantized now and kept until leaving, instead of at every use.
        padded: see `InputDropout`.
        weight_of: in place of `stored_weight`.
        fused: gives layers in 4 bits that are not kept dequantized a fused kernel.
    """
    changed: list[Any] = []
    dropout = InputDropout(seed, padded=padded)
    layers = _Layers(weight_of or stored_weight, resident_bytes, fused)
    try:
        for module in model.modules():
            forward = _forward_of(module, len(changed), dropout, layers)
            if forward is not None:
                module.forward = forward
                changed.append(module)
        yield dropout
    finally:
        for module in changed:
            del module.forward


class ByteAllowance:
    """Bytes that are given to whoever comes first and fits.

    Args:
        size: in bytes.
    """

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> bool:
        """Whether so many were left; then they are taken."""
        if size > self._left:
            return False
        self._left -= size
        return True


class _Layers:
    """How each layer is multiplied: dequantized once, up to a number of bytes; by a fused kernel; or dequantized at every use."""

    def __init__(self, weight_of: "WeightOf", room_bytes: int, fused: FusedProducts | None) -> None:
        self._weight_of = weight_of
        self._room = ByteAllowance(room_bytes)
        self._fused = fused
        self._known: dict[int, _Layer] = {}  # by layer: an adapted one is met twice, in its adapter and by itself

    def __call__(self, layer: Any) -> "_Layer":
        if id(layer) not in self._known:
            self._known[id(layer)] = self._layer(layer)
        return self._known[id(layer)]

    def _layer(self, layer: Any) -> "_Layer":
        anew = self._weight_of(layer)
        if not is_quantized(layer):
            return _Layer(anew, layer.bias)
        if self._room.take(layer.in_features * layer.out_features * layer.compute_dtype.itemsize):
            weight = anew()
            return _Layer(lambda: weight, layer.bias)
        return _Layer(anew, layer.bias, self._fused(layer, anew) if self._fused else None)


def _forward_of(module: Any, number: int, dropout: InputDropout, layers: _Layers) -> Callable[[Tensor], Tensor] | None:
    """What a layer computes, without PEFT's and bitsandbytes' own code; None for layers that need nothing."""
    from peft.tuners.lora import LoraLayer

    if is_quantized(module):
        frozen = layers(module)
        return lambda x: _apply(x, frozen, None, None, None)
    if not isinstance(module, LoraLayer) or len(module.active_adapters) != 1:
        return None
    (name,) = module.active_adapters
    layer = layers(module.get_base_layer())
    a: Any = module.lora_A[name].weight
    b: Any = module.lora_B[name].weight
    own: Any = module.lora_dropout[name]
    share = own.p if own.training and isinstance(own, torch.nn.Dropout) else 0.0
    scale = module.scaling[name] / (1 - share)
    dropout.add(a.shape[1], share)

    def adapted(x: Tensor) -> Tensor:
        dropped, mask = dropout(number, x, x.detach().reshape(-1, x.shape[-1]))
        return _apply(x, layer, a, b, Lora(scale, dropped, mask))

    return adapted


def _apply(x: Tensor, layer: _Layer, a: Tensor | None, b: Tensor | None, lora: Lora | None) -> Tensor:
    y: Tensor = FrozenLinear.apply(x.reshape(-1, x.shape[-1]), a, b, layer, lora)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], -1)
