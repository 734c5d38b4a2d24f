"""The one thread that has the model: answers in the order in which they were asked for, then what can wait."""

import threading
import time
from collections import deque
from collections.abc import Callable

from edgepers.errors import BusyError

__all__ = ["Ticket", "Worker"]

MOST_CHORES = 1000
_LOOK_SECONDS = 0.5  # between two looks whether chores may be done
_PACE = 0.2  # share of the latest answer in the mean time of one


class Ticket:
    """A place in the queue.

    Attributes:
        left: nobody waits for it any more.
    """

    def __init__(self, job: Callable[["Ticket"], None]) -> None:
        self.job = job
        self.left = threading.Event()


class Worker:
    """Does jobs one after the other in a thread of its own.

    Args:
        most_waiting: answers that may wait.
        calm: whether chores may be done now; they wait for that, and for all answers.
        on_fault: is told of an error that a job or chore let through.
    """

    def __init__(
        self, most_waiting: int, *, calm: Callable[[], bool] = lambda: True, on_fault: Callable[[BaseException], None]
    ) -> None:
        self._most_waiting = most_waiting
        self._calm = calm
        self._on_fault = on_fault
        self._jobs: deque[Ticket] = deque()
        self._chores: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._mean_seconds = 1.0
        self._busy_since: float | None = None
        self._last = time.monotonic()
        self.chores_lost = 0
        self._thread = threading.Thread(target=self._run, name="edgepers-worker", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Answers that wait for their turn."""
        return len(self._jobs)

    @property
    def chores(self) -> int:
        """What can wait, and does."""
        return len(self._chores)

    @property
    def idle_seconds(self) -> float:
        """Since the last answer; 0 while there is one to give."""
        return 0.0 if self._jobs or self._busy_since is not None else time.monotonic() - self._last

    @property
    def retry_seconds(self) -> int:
        """After which the queue should have a place again."""
        return max(round(self._mean_seconds), 1)

    def submit(self, job: Callable[[Ticket], None]) -> Ticket:
        """Queue an answer.

        Raises:
            BusyError: too many wait.
        """
        with self._changed:
            if len(self._jobs) >= self._most_waiting:
                raise BusyError(f"{len(self._jobs)} requests wait already; ask again in {self.retry_seconds} s")
            ticket = Ticket(job)
            self._jobs.append(ticket)
            self._changed.notify()
            return ticket

    def leave(self, ticket: Ticket) -> None:
        """Nobody waits for this answer any more: its place is free."""
        ticket.left.set()
        with self._changed:
            if ticket in self._jobs:
                self._jobs.remove(ticket)

    def later(self, chore: Callable[[], None]) -> None:
        """Do something when there is nothing to answer; where too much waits, the oldest is lost."""
        with self._changed:
            self._chores.append(chore)
            if len(self._chores) > MOST_CHORES:
                self._chores.popleft()
                self.chores_lost += 1
            self._changed.notify()

    def close(self) -> None:
        """Give no more answers, do what waits, and end."""
        with self._changed:
            self._closing = True
            for ticket in self._jobs:
                ticket.left.set()
            self._jobs.clear()
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            began = time.monotonic()
            try:
                work()
            except BaseException as error:
                self._on_fault(error)
            if self._busy_since is not None:
                self._mean_seconds += _PACE * (time.monotonic() - began - self._mean_seconds)
                self._busy_since, self._last = None, time.monotonic()

    def _next(self) -> Callable[[], None] | None:
        """What is to be done; None at the end."""
        with self._changed:
            while True:
                if self._jobs:
                    ticket = self._jobs.popleft()
                    self._busy_since = time.monotonic()
                    return lambda: ticket.job(ticket)
                if self._chores and (self._closing or self._calm()):
                    return self._chores.popleft()
                if self._closing:
                    return None
                self._changed.wait(_LOOK_SECONDS if self._chores else None)
