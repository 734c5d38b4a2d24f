"""Which meters of energy a machine has."""

from pathlib import Path

from edgepers.meter import ina3221, nvml, rapl
from edgepers.meter.source import Found

__all__ = ["find_sources"]


def find_sources(sys: Path = Path("/sys")) -> Found:
    """What can be read here: the rails of a Jetson, else the GPU's counter and the processor's, which are apart.

    `sys` is where the kernel shows its devices. NVML is left out on a Jetson: it reports no power there, and the rails
    hold all.
    """
    found = ina3221.find(sys)
    if found.sources:
        return found
    parts = [found, nvml.find(), rapl.find(sys)]
    return Found(*([entry for part in parts for entry in part[column]] for column in range(3)))  # type: ignore[arg-type]
