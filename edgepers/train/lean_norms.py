"""Norms and gated products that keep no more than their gradient needs.

transformers' own keep float32 copies and a product more.

RMSNorm (Zhang and Sennrich 2019) keeps its input once, in the type it came in, and one number a row. The product of a
gated feed-forward layer, act(gate) x up (Shazeer 2020), keeps gate and up, and computes act(gate) again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from edgepers.model.forwards import replaced_forwards
from edgepers.train import liger

__all__ = ["lean_norms"]

_TRIED = 8  # rows on which a replacement must say what the original says


class _Norm(torch.autograd.Function):
    """Compute y = x / rms(x) * weight over the last axis, the weight frozen, in float32.

    With `late` the weight is applied after rounding, as Llama does.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, late: bool) -> Tensor:
        wide = x.float()
        scale = wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        ctx.save_for_backward(x, scale)
        ctx.weight = weight
        wide = wide * scale
        return wide.to(x.dtype).mul_(weight) if late else wide.mul_(weight).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        x, scale = ctx.saved_tensors
        unit = x.float() * scale  # not in place: of float32, `float` is no copy
        weighed = gradient.float() * ctx.weight
        along = (weighed * unit).mean(-1, keepdim=True)
        return weighed.sub_(unit.mul_(along)).mul_(scale).to(x.dtype), None, None, None


class _GatedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.act = act
        out = act(gate)
        return out.mul_(up) if out is not gate else gate * up

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        gate, up = ctx.saved_tensors
        with torch.enable_grad():
            again = gate.detach().requires_grad_()
            acted = ctx.act(again)
        (to_gate,) = torch.autograd.grad(acted, again, gradient * up)
        return to_gate, gradient * acted.detach(), None


@contextmanager
def lean_norms(model: Any, *, by_liger: bool = False) -> Iterator[None]:
    """Let a model's norms and gated feed-forward layers keep less; leaving gives them their own code back.

    A kind of layer is replaced where the first of its kind says the same on random rows; on the meta device, where
    nothing is said, by its name.

    Args:
        model: the base model, without an adapter.
        by_liger: by Liger-Kernel's kernels where they say the same, which needs a GPU.
    """
    with replaced_forwards(_lean_forwards(model, by_liger)):
        yield


def _lean_forwards(model: Any, by_liger: bool) -> Iterator[tuple[Any, Callable[[Tensor], Tensor]]]:
    ways: dict[type, _Way | None] = {}
    for module in list(model.modules()):
        kind = type(module)
        if kind not in ways:
            ways[kind] = next((way for way in _ways(module, by_liger) if _same(module, way(module))), None)
        way = ways[kind]
        if way is not None:
            yield module, way(module)


_Way = Callable[[Any], Callable[[Tensor], Tensor]]


def _ways(module: Any, by_liger: bool) -> list[_Way]:
    """What may compute the same as a module, keeping less."""
    if (
        type(module).__name__.endswith("RMSNorm")
        and isinstance(getattr(module, "weight", None), Tensor)
        and _eps_of(module)
    ):
        late: list[_Way] = [_ligers_late_norm, _late_norm] if by_liger else [_late_norm]
        gemma: list[_Way] = [_ligers_gemma_norm, _gemma_norm] if by_liger else [_gemma_norm]
        return gemma + late if type(module).__name__.startswith("Gemma") else late + gemma
    layers = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    if all(isinstance(layer, nn.Module) for layer in layers) and callable(getattr(module, "act_fn", None)):
        return [_ligers_feed_forward, _feed_forward] if by_liger else [_feed_forward]
    return []


def _eps_of(module: Any) -> float:
    return float(getattr(module, "variance_epsilon", None) or getattr(module, "eps", None) or 0.0)


def _late_norm(module: Any) -> Callable[[Tensor], Tensor]:
    weight, eps = module.weight.detach(), _eps_of(module)
    return lambda x: _Norm.apply(x, weight, eps, True)  # type: ignore[no-untyped-call]


def _gemma_norm(module: Any) -> Callable[[Tensor], Tensor]:
    weight, eps = 1.0 + module.weight.detach().float(), _eps_of(module)
    return lambda x: _Norm.apply(x, weight, eps, False)  # type: ignore[no-untyped-call]


def _feed_forward(module: Any) -> Callable[[Tensor], Tensor]:
    act = module.act_fn
    return lambda x: module.down_proj(_GatedProduct.apply(module.gate_proj(x), module.up_proj(x), act))  # type: ignore[no-untyped-call]


def _ligers_late_norm(module: Any) -> Callable[[Tensor], Tensor]:
    return liger.llama_norm(module.weight.detach(), _eps_of(module))


def _ligers_gemma_norm(module: Any) -> Callable[[Tensor], Tensor]:
    return liger.gemma_norm(module.weight.detach(), _eps_of(module))


def _ligers_feed_forward(module: Any) -> Callable[[Tensor], Tensor]:
    product = liger.silu_product()
    return lambda x: module.down_proj(product(module.gate_proj(x), module.up_proj(x)))


@torch.no_grad()
def _same(module: Any, replaced: Callable[[Tensor], Tensor]) -> bool:
    like = module.weight if hasattr(module, "weight") else module.gate_proj.weight
    if like.device.type == "meta":
        return True
    width = len(module.weight) if hasattr(module, "weight") else module.gate_proj.in_features
    dtype = like.dtype if like.dtype.is_floating_point else module.gate_proj.compute_dtype
    x = torch.randn(_TRIED, width, generator=torch.Generator().manual_seed(0)).to(like.device, dtype)
    truth, mine = module(x).float(), replaced(x).float()
    return bool((truth - mine).abs().max() <= 0.01 * truth.abs().max())
