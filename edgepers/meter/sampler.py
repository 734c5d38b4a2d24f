"""A thread that does something again and again, and knows what it costs."""

import contextlib
import threading
import time
from collections.abc import Callable

__all__ = ["Sampler"]


class Sampler:
    """Calls a function every so many seconds, from `go_on` until `rest`.

    What raises OSError is left to the next call.
    """

    def __init__(self, sample: Callable[[], None], interval_seconds: float) -> None:
        self._sample = sample
        self._interval = interval_seconds
        self._running = threading.Event()
        self._ended = threading.Event()
        self._awake_seconds = self._cpu_seconds = 0.0
        self._thread = threading.Thread(target=self._loop, name="edgepers-sampler", daemon=True)
        self._thread.start()

    @property
    def cost_share(self) -> float | None:
        """Processor time of the thread as a share of one core; None before it has worked."""
        return self._cpu_seconds / self._awake_seconds if self._awake_seconds else None

    def go_on(self) -> None:
        """Start or go on calling the function."""
        self._running.set()

    def rest(self) -> None:
        """Work no more until `go_on`."""
        self._running.clear()

    def close(self) -> None:
        """End the sampling thread."""
        self._ended.set()
        self._running.set()
        self._thread.join()

    def _loop(self) -> None:
        while self._running.wait() and not self._ended.is_set():
            began, used = time.monotonic(), time.thread_time()
            with contextlib.suppress(OSError):
                self._sample()
            self._ended.wait(self._interval)
            self._cpu_seconds += time.thread_time() - used
            self._awake_seconds += time.monotonic() - began
