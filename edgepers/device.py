"""Which hardware the model runs on: the one seam behind which machines differ."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["compute_device", "is_out_of_memory"]

_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "Cannot allocate memory",  # of mapping a file
    "bad_alloc",
    "ALLOC_FAILED",  # cuBLAS, cuDNN
    "NVML_SUCCESS == r",
    "NvMapMemAlloc",
)


def compute_device() -> "torch.device":
    """The first CUDA device where torch can use one, else the CPU."""
    import torch

    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; on Jetson it may surface as an internal assertion of the allocator."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)
