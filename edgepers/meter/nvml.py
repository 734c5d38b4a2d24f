"""The total energy counter of an NVIDIA GPU that is a card of its own, through nvidia-ml-py (NVML; Volta and newer)."""

import os
from pathlib import Path
from typing import Any

from edgepers.meter.source import Found

__all__ = ["Nvml", "find"]

_DRIVER = Path("/proc/driver/nvidia/version")


class Nvml:
    """Joules of one GPU since its driver was loaded."""

    name = "nvml"
    counts = True

    def __init__(self, nvml: Any, handle: Any, rail: str) -> None:
        self._nvml = nvml
        self._handle = handle
        self._rail = rail
        self.totals: dict[str, tuple[str, ...]] = {rail: (rail,)}

    def read(self) -> dict[str, float]:
        """Joules; the driver counts on every 20 to 100 ms."""
        try:
            return {self._rail: self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) * 1e-3}
        except self._nvml.NVMLError as error:
            raise OSError(5, str(error)) from None

    def close(self) -> None:
        """Let the NVML library go."""
        self._nvml.nvmlShutdown()


def find(driver: Path = _DRIVER) -> Found:
    """The counter of the GPU that CUDA programs see first, in NVML's order of GPUs."""
    if not driver.exists():
        return Found([], [], [])
    try:
        import pynvml
    except ImportError:
        return Found([], ["nvml: the GPU's counter needs nvidia-ml-py"], ["pip install 'edgepers[nvml]'"])
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Found([], [f"nvml: {error}"], [])
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    try:
        by_uuid = not first.isdecimal()  # a slice of a GPU (MIG) goes by one, too; it has no counter, and says so
        handle = pynvml.nvmlDeviceGetHandleByUUID(first) if by_uuid else pynvml.nvmlDeviceGetHandleByIndex(int(first))
        source = Nvml(pynvml, handle, f"GPU {first} ({pynvml.nvmlDeviceGetName(handle)})")
        source.read()
    except (pynvml.NVMLError, OSError) as error:
        pynvml.nvmlShutdown()
        return Found([], [f"nvml: GPU {first or '(none visible)'}: {error}"], [])
    return Found([source], [], [])
