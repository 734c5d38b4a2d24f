"""A round while it is done: how long it will take, and a way to stop it; safe to use from any thread."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from edgepers.errors import BusyError, RoundStoppedError
from edgepers.train.trainer import TrainStep

__all__ = ["UnderWay"]


class UnderWay:
    """What other threads may know of a round and do to it.

    Attributes:
        stage: that is being done; "" before the first.
        model_is_away: the model of this process is being trained, or has made room for the training.
    """

    def __init__(self) -> None:
        self.stage = ""
        self.model_is_away = False
        self._stopped = threading.Event()
        self._kill: Callable[[], None] | None = None
        self._hold: Callable[[bool], None] | None = None
        self._ahead = 0  # how many others it makes way for
        self._lock = threading.Lock()
        self._seen: TrainStep | None = None
        self._first: tuple[int, float] | None = None
        self._at = 0.0

    def begins(self, stage: str) -> None:
        """A stage begins."""
        self.check()
        self.stage = stage

    def step(self, step: TrainStep) -> None:
        """An optimizer step was done."""
        self._seen, self._at = step, time.monotonic()
        self._first = self._first or (step.step, self._at)

    def seconds_left(self) -> float | None:
        """Of training, at the pace so far; None before two steps were seen."""
        if self._seen is None or self._first is None or self._seen.step == self._first[0]:
            return None
        pace = (self._at - self._first[1]) / (self._seen.step - self._first[0])
        return max((self._seen.steps - self._seen.step) * pace - (time.monotonic() - self._at), 0.0)

    @contextlib.contextmanager
    def model_away(self) -> Iterator[None]:
        """Inside, nothing can be answered."""
        self.model_is_away = True
        try:
            yield
        finally:
            self.model_is_away = False

    def require_model(self) -> None:
        """Raises BusyError while the model is away."""
        if self.model_is_away:
            left = self.seconds_left()
            when = "it has just begun" if left is None else f"about {left:.0f} s left"
            raise BusyError(f"training, {when}; ask again then")

    def works_in(self, kill: Callable[[], None], hold: Callable[[bool], None] | None = None) -> None:
        """A child process does the work now: stopping kills it, and `hold` holds it where it is or lets it go on."""
        self._kill = kill
        with self._lock:
            self._hold = hold
            if hold is not None and self._ahead:
                hold(True)
        if self._stopped.is_set():
            kill()

    @contextlib.contextmanager
    def making_way(self) -> Iterator[None]:
        """Inside, a child process that does the work stands still; several threads may be inside."""
        self._wait(1)
        try:
            yield
        finally:
            self._wait(-1)

    def _wait(self, more: int) -> None:
        with self._lock:
            before, self._ahead = self._ahead, self._ahead + more
            if self._hold is not None and bool(before) != bool(self._ahead):
                self._hold(bool(self._ahead))

    def stop(self) -> None:
        """End the round at the next moment where nothing is lost: at once in training, else when the stage ends."""
        self._stopped.set()
        if self._kill is not None:
            self._kill()

    def check(self) -> None:
        """Raises RoundStoppedError after `stop`."""
        if self._stopped.is_set():
            raise RoundStoppedError("the round was stopped; the next one goes on from its last checkpoint")
