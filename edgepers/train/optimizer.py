"""AdamW over the adapter, its moments in 32 or 8 bits, and what of it a checkpoint keeps."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["load_state", "make_optimizer", "moment_bytes", "state_of"]

_LEAST_8BIT = 4096  # numbers of a weight below which bitsandbytes keeps 32 bits
_BLOCK = 256  # numbers that share a float32 scale in 8 bits
_MAPS = ("qmap1", "qmap2")  # bitsandbytes' tables from 8 bits to numbers: the same for every weight and run


def make_optimizer(weights: Mapping[str, torch.nn.Parameter], rate: float, bits: int) -> torch.optim.Optimizer:
    """AdamW without weight decay; 8 bits: Dettmers et al. 2022, blockwise, not paged."""
    if bits == 32:
        return torch.optim.AdamW(weights.values(), lr=rate, weight_decay=0.0)
    from bitsandbytes.optim.adamw import AdamW8bit

    return AdamW8bit(weights.values(), lr=rate, weight_decay=0.0, min_8bit_size=_LEAST_8BIT)


def moment_bytes(numbers: int, bits: int) -> int:
    """Bytes of both moments of a weight of so many numbers."""
    return 2 * (numbers + 4 * -(-numbers // _BLOCK) if bits == 8 and numbers >= _LEAST_8BIT else 4 * numbers)


def state_of(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter) -> dict[str, Tensor]:
    """What an optimizer remembers of a weight; empty before its first step."""
    state = optimizer.state[weight]
    return {key: torch.as_tensor(value) for key, value in state.items() if key not in _MAPS}


def load_state(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter, state: Mapping[str, Tensor]) -> None:
    """Put back what `state_of` gave.

    Raises:
        KeyError: it is of another kind of optimizer.
    """
    if isinstance(optimizer, torch.optim.AdamW):
        if missing := {"exp_avg", "exp_avg_sq", "step"} - set(state):
            raise KeyError(*missing)
        optimizer.state[weight] = {
            key: value.to("cpu" if key == "step" else weight.device) for key, value in state.items()
        }
        return
    group = optimizer.param_groups[0]
    place = next(i for i, one in enumerate(group["params"]) if one is weight)
    optimizer.init_state(group, weight, 0, place)  # type: ignore[attr-defined]
    made = optimizer.state[weight]
    for key in made:
        if key == "step":
            made[key] = int(state[key])
        elif key not in _MAPS:
            made[key].copy_(state[key])
