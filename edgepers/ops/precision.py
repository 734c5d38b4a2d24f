"""Products in the precision that an op promises, whatever its caller has asked torch for."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

_P = ParamSpec("_P")
_R = TypeVar("_R")


def full_precision(kernel: Callable[Concatenate[Tensor, _P], _R]) -> Callable[Concatenate[Tensor, _P], _R]:
    """Shield a kernel from the caller's autocast, which would form its products in half precision."""

    @wraps(kernel)
    def run(first: Tensor, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with torch.no_grad(), torch.autocast(first.device.type, enabled=False):
            return kernel(first, *args, **kwargs)

    return run
