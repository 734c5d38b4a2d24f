"""What a meter of energy reads, by rail: watts, or joules that only grow.

It says which sums of rails stand for the whole.
"""

from typing import NamedTuple, Protocol

__all__ = ["Found", "Source"]


class Source(Protocol):
    """One kind of meter of energy.

    Attributes:
        name: "ina3221", "nvml" or "rapl".
        counts: `read` gives joules since some moment, not watts.
        totals: names of sums of rails that stand for everything that it meters, the first of them the one that is
            reported as such;
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
