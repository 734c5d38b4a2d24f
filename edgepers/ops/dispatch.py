"""Choose which implementation of an op serves which device.

That is the compiled library where it is built, else Triton on a GPU, else torch.
"""

from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import torch

from edgepers.ops import native

_compiled: set[str] = (
    set()
)  # ops that have more than a torch kernel; filled at import, as the dispatcher's own table is


def register(op: str, default: Callable[..., Any], compiled: Callable[..., Any]) -> None:
    """Give the dispatcher the kernels of an op.

    Args:
        op: name in the namespace edgepers.
        default: plain torch, for every device.
        compiled: the others; called with "cpp", "triton" or "cuda" before the op's own arguments.
    """
    name = f"edgepers::{op}"
    _compiled.add(op)
    torch.library.impl(name, "default", default)
    if backend_of(op, "cpu") == "cpp":
        torch.library.impl(name, "cpu", partial(compiled, "cpp"))

    def on_gpu(
        *arguments: Any,
    ) -> Any:  # decided at the first call: a machine without a GPU never looks for its library
        backend = backend_of(op, "cuda")
        return default(*arguments) if backend == "torch" else compiled(backend, *arguments)

    torch.library.impl(name, "cuda", on_gpu)


def backend_of(op: str, device: str) -> str:
    """Name what the dispatcher runs for `op` on a device: "cuda", "triton", "cpp" or "torch"."""
    return _backend(device) if op in _compiled else "torch"


@cache
def _backend(device: str) -> str:
    if device == "cpu":
        return "cpp" if native.has("cpu") else "torch"
    if device == "cuda":
        return "cuda" if native.has("cuda") else "triton" if find_spec("triton") else "torch"
    return "torch"
