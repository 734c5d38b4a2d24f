"""Kernels that an owner asks for by an option: whether they can be used is known before a round begins."""

import importlib
from typing import Protocol

import torch

from edgepers.errors import UsageError

__all__ = ["check_kernels"]


class _Asked(Protocol):
    @property
    def liger(self) -> bool: ...
    @property
    def fused(self) -> bool: ...


_NEEDS = {  # by option: what it needs by name, what is imported, what installs it
    "liger": ("Liger-Kernel", "liger_kernel.ops.rms_norm", "pip install 'edgepers[liger]'"),
    "fused": ("Triton", "triton", "pip install triton"),
}


def check_kernels(asked: _Asked, device: torch.device) -> None:
    """See that the kernels that settings or a recipe ask for can be used on this device.

    Raises:
        UsageError: it is no GPU, or their library is not installed.
    """
    for option, (name, module, install) in _NEEDS.items():
        if not getattr(asked, option):
            continue
        if device.type != "cuda":
            raise UsageError(f"--{option} needs a GPU, and this model runs on the CPU; give --no-{option}")
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UsageError(
                f"--{option} needs {name} ({error}); install it with: {install}, or give --no-{option}"
            ) from None
