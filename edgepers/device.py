"""Which hardware the model runs on: the one seam behind which machines differ."""

import contextlib
import functools
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["clocks_mhz", "compute_device", "device_name", "is_out_of_memory", "multiplies_bfloat16", "warm_up_4bit"]

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


def device_name() -> str:
    """Name the GPU that `compute_device` is, or the processor."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


@functools.cache
def multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor has instructions that multiply bfloat16: AVX-512 BF16, AMX, or Arm's.

    Without them bfloat16 is computed in float32 by way of conversions, slower than float32 itself.
    """
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(line.split())
    return False


def warm_up_4bit(device: "torch.device", side: int = 256) -> None:
    """Launch one small NF4 layer and wait for it.

    Boards have rebooted from a first 4-bit launch of several shapes after a cold start.

    Raises:
        RuntimeError: it does not launch.
    """
    import torch
    from bitsandbytes.nn.modules import Linear4bit

    layer = Linear4bit(
        side, side, bias=False, compute_dtype=torch.float16, quant_type="nf4", compress_statistics=True
    ).to(device)
    with torch.no_grad():
        layer(torch.zeros(1, side, dtype=torch.float16, device=device)).sum().item()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out.

    On Jetson it may surface as an internal assertion of the allocator.
    """
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


def clocks_mhz(sys: Path = Path("/sys")) -> dict[str, float]:
    """Present clocks where the kernel tells them: the fastest core's as "cpu", a Jetson's GPU's as "gpu"."""
    sources = {
        "cpu": ("devices/system/cpu/cpu*/cpufreq/scaling_cur_freq", 1e-3),
        "gpu": ("class/devfreq/*gpu*/cur_freq", 1e-6),
    }
    found = {}
    for name, (pattern, mhz) in sources.items():
        values = []
        for path in sys.glob(pattern):
            with contextlib.suppress(OSError, ValueError):
                values.append(int(path.read_text()) * mhz)
        if values:
            found[name] = round(max(values), 1)
    return found
