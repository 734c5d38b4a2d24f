"""What a meter of energy reads: watts, or joules that only grow, by rail; and which sums of rails stand for the whole."""

from pathlib import Path
from typing import NamedTuple, Protocol

__all__ = ["Found", "Source", "find_sources"]


class Source(Protocol):
    """One kind of meter.

    Attributes:
        name: "ina3221", "nvml" or "rapl".
        counts: `read` gives joules since some moment, not watts.
        totals: names of sums of rails that stand for everything that it meters, the first of them the one that is reported as such;
            none where the rails do not make up a whole.
    """

    name: str
    counts: bool
    totals: dict[str, tuple[str, ...]]

    def read(self) -> dict[str, float]:
        """Watts or joules by rail.

        Raises:
            OSError: it cannot be read now.
        """

    def close(self) -> None:
        """Give files and handles back."""


class Found(NamedTuple):
    """The meters of a machine; `lacking` says what is there but cannot be read, `cures` what to do about it."""

    sources: list[Source]
    lacking: list[str]
    cures: list[str]


def find_sources(sys: Path = Path("/sys")) -> Found:
    """What can be read here: the rails of a Jetson, else the GPU's counter and the processor's, which are apart.

    `sys` is where the kernel shows its devices. NVML is left out on a Jetson: it reports no power there, and the rails hold all.
    """
    from edgepers.meter import ina3221, nvml, rapl

    found = ina3221.find(sys)
    if found.sources:
        return found
    parts = [found, nvml.find(), rapl.find(sys)]
    return Found(*([entry for part in parts for entry in part[column]] for column in range(3)))  # type: ignore[arg-type]
