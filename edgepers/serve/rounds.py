"""Rounds in the background: when enough was said, something new was judged, and nobody needs the device."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edgepers.board.sensors import Sensors, busy
from edgepers.errors import BusyError, EdgepersError, RoundStoppedError, first_line
from edgepers.personalize import Personalizer
from edgepers.rounds.background import BackgroundRound
from edgepers.rounds.idle import nothing_new
from edgepers.train.pause import CALM_LOOKS, LOOK_SECONDS

__all__ = ["Rounds"]

QUIET_SECONDS = 30.0  # since the last answer, before a round begins by itself


class Rounds:
    """Does rounds over one state, by themselves and on demand; the published adapter goes on answering.

    Args:
        owner: open.
        idle_seconds: since the last answer.
        log: gets one line about each round.
        sensors: in place of the device's own.
        before: called before each round.
        after: called when one has ended, however.

    Attributes:
        finished: how many have ended here, published or not.
        failed: how many did not.
        last: what the last one came to, None before the first.
    """

    def __init__(
        self,
        owner: Personalizer,
        idle_seconds: Callable[[], float],
        log: Callable[[str], None],
        sensors: Sensors | None = None,
        *,
        before: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._before, self._after = before, after
        self._owner = owner
        self._idle_seconds = idle_seconds
        self._log = log
        self._sensors = sensors
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._start = threading.Lock()
        self._seen: tuple[int, int] | None = None  # verdicts and rounds at which nothing was new
        self._watched: threading.Thread | None = None
        self.finished = self.failed = 0
        self.last: dict[str, Any] | None = None

    def begin(self) -> None:
        """Do rounds by themselves from now on."""
        self._thread = threading.Thread(target=self._watch, name="edgepers-rounds", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Start no more, and stop the one that is under way where nothing is lost."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        self._owner.stop_round()
        if self._watched is not None:
            self._watched.join()

    def start(self) -> int:
        """Start one now; its number.

        Raises:
            BusyError: one is under way.
        """
        with self._start:
            if self._ending.is_set():
                raise BusyError("the server is ending; a round can be had again when it is back")
            number = self._owner.round_number
            if not self._owner.round_is_under_way:
                self._before()  # which may take a while
                if self._ending.is_set():
                    raise BusyError("the server is ending; a round can be had again when it is back")
            under_way = self._owner.start_round()
            self._log(f"round {number}: begun")
            self._watched = threading.Thread(target=self._wait, args=(number, under_way), name="edgepers-round-end")
            self._watched.start()
            return number

    def stop(self) -> bool:
        """Stop the one that is under way where nothing is lost; whether there was one.

        None begins by itself until something is judged anew; one that is asked for goes on from where this one was.
        """
        if not self._owner.round_is_under_way:
            return False
        self._owner.stop_round()
        self._seen = self._state()
        return True

    def _wait(self, number: int, under_way: BackgroundRound) -> None:
        try:
            done = under_way.wait()
        except RoundStoppedError:
            self._log(f"round {number}: stopped; it goes on from its last checkpoint")
        except (EdgepersError, OSError, KeyboardInterrupt) as error:
            self.failed += 1
            self._seen = self._state()  # the same would fail again: not before something is judged anew
            self.last = {"round": number, "failed": first_line(error)}
            self._log(f"round {number}: failed: {first_line(error)}")
        else:
            assert done is not None
            self.finished += 1
            self.last = done
            came = (
                "published" if done["published"] else "not published; the page says why"
            )  # it may quote what was said
            self._log(f"round {number}: {done['train_sets']} sets in {done['train_seconds']:.0f} s; {came}")
        finally:
            self._after()

    def _watch(self) -> None:
        sensors = self._sensors or Sensors()
        calm = 0
        while not self._ending.wait(LOOK_SECONDS):
            if not self._due() or self._idle_seconds() < QUIET_SECONDS:
                calm = 0
                continue
            calm = 0 if busy(sensors, self._owner.settings.busy_bounds) else calm + 1
            if calm >= CALM_LOOKS:
                calm = 0
                try:
                    self.start()
                except EdgepersError as error:
                    self._log(f"no round: {error}")

    def _due(self) -> bool:
        """Whether enough was said, and a round would learn something."""
        owner = self._owner
        seen = self._state()
        if owner.round_is_under_way or owner.buffer.progress.position < owner.next_round or self._seen == seen:
            return False
        with owner.buffer.lock:
            if nothing_new(owner.state, owner.buffer, replace(owner.settings, annotations="ask")):
                self._seen = seen
                return False
        return True

    def _state(self) -> tuple[int, int]:
        progress = self._owner.buffer.progress
        return progress.annotated, progress.rounds
