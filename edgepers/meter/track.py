"""Memory over time, by stage: of the host, the GPU and the storage, looked at ten times a second."""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from edgepers.files import folder_bytes
from edgepers.meter.memory import gpu_bytes
from edgepers.meter.sampler import Sampler

__all__ = ["MemoryTrack", "thinned"]

KINDS = ("host_bytes", "gpu_bytes", "storage_bytes")
INTERVAL_SECONDS = 0.1
MOST_POINTS = 600


class MemoryTrack:
    """Notes memory from when it is made until it is closed. A peak between two looks is missed.

    Args:
        folder: whose files are the storage.
        stage: the first one.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        self._folder = folder
        self._process = psutil.Process()
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._stages: list[dict[str, Any]] = []  # name, and seconds of its beginning
        self._seconds: list[float] = []
        self._values: dict[str, list[int]] = {kind: [] for kind in KINDS}
        self._by_stage: dict[str, dict[str, int]] = {}
        self.stage(stage)
        self._sampler = Sampler(self._look, INTERVAL_SECONDS)
        self._sampler.go_on()

    def stage(self, name: str) -> None:
        """What follows belongs to a stage of this name."""
        self._stage = name
        self._stages.append({"name": name, "seconds": round(time.monotonic() - self._began, 3)})
        self._look()

    def _look(self) -> None:
        with self._lock:
            found = self._process.memory_info().rss, gpu_bytes(peak=False), folder_bytes(self._folder)
            self._seconds.append(time.monotonic() - self._began)
            peaks = self._by_stage.setdefault(self._stage, dict.fromkeys(KINDS, 0))
            for kind, value in zip(KINDS, found, strict=True):
                self._values[kind].append(value)
                peaks[kind] = max(peaks[kind], value)

    def close(self) -> None:
        """Stop sampling."""
        self._sampler.close()

    def record(self) -> dict[str, Any]:
        """Return peaks by stage, and the course in at most `MOST_POINTS` points, once sampling has ended.

        Each point is the highest of its time.

        "host_bytes" is what the whole process has resident, Python and its libraries too.
        """
        seconds, values = thinned(self._seconds, self._values, MOST_POINTS)
        return {"peak_by_stage": self._by_stage, "stages": self._stages, "seconds": seconds, **values}


def thinned(
    seconds: Sequence[float], values: Mapping[str, Sequence[int]], most: int
) -> tuple[list[float], dict[str, list[int]]]:
    """Thin a course out to at most so many points.

    Neighbours become one, at the time of the first and with the highest of each value.
    """
    each = -(-len(seconds) // most) or 1
    starts = range(0, len(seconds), each)
    return [round(seconds[i], 3) for i in starts], {
        name: [max(column[i : i + each]) for i in starts] for name, column in values.items()
    }
