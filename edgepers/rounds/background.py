"""A round in a thread of its own, for a program that has other things to do meanwhile, such as a server."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from edgepers.errors import RoundStoppedError
from edgepers.rounds.listener import Listener
from edgepers.rounds.under_way import UnderWay
from edgepers.select.decision import Decision
from edgepers.train.trainer import TrainStep

__all__ = ["BackgroundRound"]


class BackgroundRound(Listener):
    """Starts at once; `records` tells how it goes, `wait` gives its report, `stop` ends it.

    All of them from any thread.

    Args:
        do: the round, given who listens and what other threads know of it.
        listener: hears everything, too, in the round's thread.
    """

    def __init__(self, do: Callable[[Listener, UnderWay], dict[str, Any]], listener: Listener) -> None:
        self.under_way = UnderWay()
        self._listener = listener
        self._records: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._report: dict[str, Any] | None = None
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(do,), name="edgepers-round")
        self._thread.start()

    def _run(self, do: Callable[[Listener, UnderWay], dict[str, Any]]) -> None:
        try:
            self._report = do(self, self.under_way)
        except RoundStoppedError as error:
            self._failed = error
        except BaseException as error:  # whoever waits gets it
            self._failed = error
            self._put("failed", text=str(error))
        finally:
            self._records.put(None)

    def _put(self, kind: str, **values: Any) -> None:
        self._records.put({"kind": kind, **values})

    def records(self) -> Iterator[dict[str, Any]]:
        """Each as it comes, until the round has ended.

        "stage" (name), "log" (text), "step" (as `TrainStep`), "failed" (text).
        """
        while (record := self._records.get()) is not None:
            yield record
        self._records.put(None)  # for another reader

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> dict[str, Any] | None:
        """The round's report; None where it has not ended after so many seconds.

        Raises:
            RoundStoppedError: it was stopped.
            EdgepersError: it failed; and whatever else the round raised.
        """
        self._thread.join(seconds)
        if self._failed is not None:
            raise self._failed
        return self._report

    def join(self) -> None:
        """Wait until it has ended, however."""
        self._thread.join()

    def stop(self) -> None:
        """End it where nothing is lost: at once while it trains, else when its stage ends.

        The next round goes on from there.
        """
        self.under_way.stop()

    def log(self, text: str) -> None:
        """Of the round: passed on."""
        self._listener.log(text)
        self._put("log", text=text)

    def decided(self, decision: Decision) -> None:
        """Of the round: passed on."""
        self._listener.decided(decision)

    def stage(self, name: str, round_number: int) -> None:
        """Of the round: passed on."""
        self._listener.stage(name, round_number)
        self._put("stage", name=name)

    def trained(self, step: TrainStep) -> None:
        """Of the round: passed on."""
        self._listener.trained(step)
        self._put("step", **asdict(step))
