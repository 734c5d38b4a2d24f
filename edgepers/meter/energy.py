"""Joules of what is done inside a window: watts are sampled and summed up by trapezoids, counters are read at its ends.

Gross: all that the meter sees, whatever else the machine does. The power of the machine at rest, with the program
loaded and nothing running, is measured beside it.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edgepers.board.reading import read_board
from edgepers.meter.find import find_sources
from edgepers.meter.sampler import Sampler
from edgepers.meter.source import Source

__all__ = ["EnergyMeter", "Spent", "Window"]

INTERVAL_SECONDS = 0.1  # between samples of a window that is open
IDLE_SECONDS = 1.0
_ATTEMPTS = 3  # at an end of a window: a rail's bus may be busy for a moment


@dataclass(frozen=True, slots=True)
class Spent:
    """What something took. Joules are None, never 0, where they were not metered all the time.

    Attributes:
        seconds: from beginning to end.
        joules: gross, of all that the meter covers.
        idle_joules: what the machine at rest would have taken in this time.
        by: gross joules of each rail, and of each sum of rails that may stand for the whole.
    """

    seconds: float = 0.0
    joules: float | None = None
    idle_joules: float | None = None
    by: dict[str, float] = field(default_factory=dict)

    def __add__(self, other: "Spent") -> "Spent":
        """One after the other; nothing at all is `Spent()`."""
        if not self.seconds or not other.seconds:
            return self if self.seconds else other
        both = {name: self.by[name] + other.by[name] for name in self.by if name in other.by}
        return Spent(
            self.seconds + other.seconds,
            _sum(self.joules, other.joules),
            _sum(self.idle_joules, other.idle_joules),
            both,
        )

    def record(self) -> dict[str, Any]:
        """Return the energy as reports have it: milliseconds and millijoules are the last digits."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def _sum(one: float | None, two: float | None) -> float | None:
    return None if one is None or two is None else one + two


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    return round(value, 3) if isinstance(value, float) else value


class EnergyMeter:
    """Meters what runs inside its windows, which may lie inside each other. Without a source it knows seconds alone.

    A thread takes the samples while a window is open, and only then; `cost_share` says what it costs.

    Args:
        sources: what is read; none: nothing is metered.
        clock: seconds that only grow.
        interval_seconds: between samples; 0: no thread, the caller calls `sample`.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        clock: Callable[[], float] = time.monotonic,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self._sources = list(sources)
        self._clock = clock
        self._lock = threading.Lock()
        self._joules: dict[str, float] = {}
        self._last: list[tuple[float, dict[str, float]] | None] = [None] * len(self._sources)
        self._open = 0
        self.idle_watts: float | None = None
        self._sampler = Sampler(self.sample, interval_seconds) if self._sources and interval_seconds else None

    @classmethod
    def find(cls) -> "EnergyMeter":
        """Make a meter of what this machine has.

        Its power at rest is measured where there is anything to measure: that takes a second.
        """
        meter = cls(find_sources().sources)
        meter.measure_idle()
        return meter

    @property
    def totals(self) -> dict[str, tuple[str, ...]]:
        """Sums of rails that stand for the whole, the one to report first; none where a source has none."""
        if len(self._sources) == 1:
            return dict(self._sources[0].totals)
        firsts = [next(iter(source.totals.values()), ()) for source in self._sources]
        rails = tuple(rail for first in firsts for rail in first)
        return {" + ".join(rails): rails} if all(firsts) and rails else {}

    @property
    def cost_share(self) -> float | None:
        """The share of one core that the sampling thread takes while a window is open; None before it has sampled."""
        return self._sampler.cost_share if self._sampler is not None else None

    def describe(self) -> dict[str, Any]:
        """What the joules are of."""
        return {
            "source": " + ".join(source.name for source in self._sources) or "none",
            "covers": next(iter(self.totals), None),
            "idle_watts": _rounded(self.idle_watts),
            "power_mode": read_board().power_mode,
        }

    def sample(self) -> None:
        """Read every source once and add what was taken since; what cannot be read is left to the next sample.

        Raises:
            OSError: a source could not be read; the others were.
        """
        failed: OSError | None = None
        with self._lock:
            for number, source in enumerate(self._sources):
                try:
                    before = self._clock()
                    values = source.read()
                    now = (before + self._clock()) / 2
                except OSError as error:
                    failed = error
                    continue
                last = self._last[number]
                self._last[number] = now, values
                if last is None:
                    continue
                for rail, value in values.items():
                    was = last[1][rail]
                    taken = value - was if source.counts else (value + was) / 2 * (now - last[0])
                    self._joules[rail] = self._joules.get(rail, 0.0) + taken
        if failed is not None:
            raise failed

    @contextlib.contextmanager
    def window(self) -> Iterator["Window"]:
        """Meter what is done inside.

        Both ends wait for the GPU: what was queued before is not in it, and what it queued is.
        """
        window = Window(self)
        self._open += 1
        if self._sampler is not None:
            self._sampler.go_on()
        try:
            yield window
        finally:
            self._open -= 1
            if self._sampler is not None and not self._open:
                self._sampler.rest()
            window.spent = window.so_far()

    def edge(self) -> tuple[float, dict[str, float] | None]:
        """The time, and joules so far by rail; None where they cannot be told. Waits for the GPU."""
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        read = False
        for _ in range(_ATTEMPTS if self._sources else 0):
            with contextlib.suppress(OSError):
                self.sample()
                read = True
                break
        with self._lock:
            return self._clock(), dict(self._joules) if read else None

    def spent(self, seconds: float, first: dict[str, float] | None, last: dict[str, float] | None) -> Spent:
        """Between two edges that lie so many seconds apart."""
        if first is None or last is None:
            return Spent(seconds)
        by = {rail: joules - first.get(rail, 0.0) for rail, joules in last.items()}
        sums = {name: sum(by.get(rail, 0.0) for rail in rails) for name, rails in self.totals.items()}
        joules = next(iter(sums.values()), None)
        idle = None if self.idle_watts is None else self.idle_watts * seconds
        return Spent(seconds, joules, idle, by | sums)

    def measure_idle(self, seconds: float = IDLE_SECONDS, sleep: Callable[[float], object] = time.sleep) -> None:
        """Rest, and note the power that the machine takes meanwhile."""
        if not self._sources:
            return
        with self.window() as window:
            sleep(seconds)
        if window.spent.joules is not None:
            self.idle_watts = window.spent.joules / window.spent.seconds

    def close(self) -> None:
        """End the thread and close the sources."""
        if self._sampler is not None:
            self._sampler.close()
        for source in self._sources:
            source.close()
        self._sources, self._last = [], []


class Window:
    """Begins when it is made; `spent` holds what was spent once it has closed."""

    def __init__(self, meter: EnergyMeter) -> None:
        self.spent = Spent()
        self._meter = meter
        self._began, self._first = meter.edge()

    def so_far(self) -> Spent:
        """Return what was used from the window's beginning until now."""
        now, last = self._meter.edge()
        return self._meter.spent(now - self._began, self._first, last)
