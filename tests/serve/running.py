"""A server of a test's own, in a thread, with a real socket."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from edgepers.personalize import Personalizer
from edgepers.serve.options import ServeOptions
from edgepers.serve.server import serve

WAIT_SECONDS = 300


@dataclass
class Running:
    """A server that is up."""

    address: str
    lines: list[str]
    done: dict[str, Any] = field(default_factory=dict)

    def http(self, **headers: str) -> httpx.Client:
        """A client of it."""
        return httpx.Client(base_url=self.address, headers=headers, timeout=WAIT_SECONDS, trust_env=False)

    def status(self) -> dict[str, Any]:
        """What it counts."""
        with self.http() as client:
            return client.get("/edgepers/status").json()


@contextlib.contextmanager
def running(owner: Personalizer, *, port: int = 0, **options: Any) -> Iterator[Running]:
    """Serve an owner's state until the block ends, at a free port unless one is given."""
    ready: queue.Queue[Any] = queue.Queue()
    here = Running("", [])

    def run() -> None:
        try:
            here.done = serve(owner, ServeOptions(port=port, **options), here.lines.append, lambda *got: ready.put(got))
        except BaseException as error:
            ready.put(error)

    thread = threading.Thread(target=run)
    thread.start()
    got = ready.get(timeout=WAIT_SECONDS)
    if isinstance(got, BaseException):
        thread.join()
        raise got
    server, here.address = got
    until(lambda: server.started)
    try:
        yield here
    finally:
        server.should_exit = True
        thread.join(WAIT_SECONDS)


def until(true: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)
