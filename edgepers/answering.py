"""What a model's answers cost beyond its products, taken away: copies at its head, and PEFT's steps around each adapted layer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["contiguous_head", "lean_adapter"]


def contiguous_head(model: Any) -> None:
    """Let the head see the last tokens' states [B, 1, d] as rows that lie together.

    `generate` takes them out of [B, n, d] as a view. For such a view a 16-bit product on a CPU becomes B products, for each of which the
    head's weight is copied: 4 s and 1.5 GB instead of 0.2 s for 16 prompts to a model of 185 M parameters (benchmarks/LOG.md).
    """
    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(lambda _, given: (_as_rows(given[0]), *given[1:]))


def _as_rows(states: Tensor) -> Tensor:
    return states.reshape(-1, states.shape[-1]).contiguous().view(states.shape)


def lean_adapter(model: Any) -> None:
    """Let the adapted layers of a PEFT model answer without PEFT's steps, to the same result but for rounding.

    Layers in float32 take one product with W + s B A, a copy of their weight; others add s B (A x), as PEFT does, since 16 bits would round
    the sum of weights and 4 bits are not added to. For answering alone: nothing is kept for a backward pass, there is no dropout. Layers
    that are not plain LoRA (DoRA, a bias, two adapters) stay as they are. `PeftModel.unload` takes all of this off again.
    """
    from peft.tuners.lora import LoraLayer

    layers: list[Any] = [module for module in model.modules() if isinstance(module, LoraLayer)]
    for layer in layers:
        if (forward := _forward_of(layer)) is not None:
            layer.forward = forward


def _forward_of(module: Any) -> Callable[..., Tensor] | None:
    names = list(module.active_adapters)
    if len(names) != 1 or names[0] not in module.lora_A:
        return None
    base, name = module.get_base_layer(), names[0]
    if name in getattr(module, "lora_variant", ()) or module.use_dora.get(name) or module.lora_bias.get(name):
        return None
    down = module.lora_A[name].weight.detach()
    up = (module.lora_B[name].weight.detach() * module.scaling[name]).t().contiguous()
    return (
        _merged(module, base, down, up)
        if type(base) is torch.nn.Linear and base.weight.dtype == torch.float32
        else _added(module, base, down, up)
    )


def _merged(module: Any, base: Any, down: Tensor, up: Tensor) -> Callable[..., Tensor]:
    weight = torch.addmm(base.weight.detach().t(), down.t(), up).t().contiguous()
    return lambda x, *_, **__: F.linear(x, base.weight if module.disable_adapters else weight, base.bias)


def _added(module: Any, base: Any, down: Tensor, up: Tensor) -> Callable[..., Tensor]:
    def forward(x: Tensor, *_: Any, **__: Any) -> Tensor:
        y: Tensor = base(x)
        if module.disable_adapters:
            return y
        rows = y.view(-1, y.shape[-1])
        least = F.linear(x.reshape(-1, x.shape[-1]).to(down.dtype), down)
        rows.copy_(torch.addmm(rows.to(up.dtype), least, up))
        return y

    return forward
