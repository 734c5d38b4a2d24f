"""One answer, from the queue to its end: the worker's thread writes it, the event loop passes it on as it comes."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

import anyio

from edgepers.errors import BusyError
from edgepers.model.language_model import Completion
from edgepers.personalize import Personalizer
from edgepers.serve.chunks import Chunks
from edgepers.serve.failures import ApiError
from edgepers.serve.learner import Learner
from edgepers.serve.lessons import Call
from edgepers.serve.models import Choice
from edgepers.serve.wire import Wish
from edgepers.serve.worker import Ticket, Worker

__all__ = ["Answer", "Answering"]

Event = str | Completion | BaseException  # a piece, the end, or what went wrong


class Answering:
    """Answers calls over one state.

    Attributes:
        owner: open.
        worker: whose thread has the model.
        learner: hears what was said.
        tokens_read, tokens_written: so far.
    """

    def __init__(self, owner: Personalizer, worker: Worker, learner: Learner) -> None:
        self.owner = owner
        self.worker = worker
        self.learner = learner
        self.tokens_read = self.tokens_written = 0

    def begin(self, wish: Wish, choice: Choice, call: Call, *, with_usage: bool) -> "Answer":
        """Queue an answer; call it from the event loop.

        Raises:
            ApiError: too many wait (429), or a round has the memory (503).
        """
        if self.owner.model_is_away:
            raise ApiError(503, "a round trains on all the memory; ask again later", code="busy", retry_seconds=30)
        adapter = self.owner.buffer.progress.published if choice.adapter is None else choice.adapter
        chunks = Chunks(
            id=f"chatcmpl-{secrets.token_hex(12)}",
            created=int(time.time()),
            model=choice.name,
            fingerprint=f"edgepers-{adapter or 'base'}",
            with_usage=with_usage,
        )
        return Answer(self, wish, choice, call, chunks)

    def write(self, wish: Wish, choice: Choice, on_text: Callable[[str], None], left: Callable[[], bool]) -> Completion:
        """The answer itself, in the worker's thread."""
        with self.owner.answering(None if choice.adapter == "" else choice.adapter) as llm:
            found = llm.complete(
                wish.messages,
                adapter=choice.adapter != "",
                max_tokens=wish.max_tokens,
                temperature=wish.temperature,
                top_p=wish.top_p,
                seed=wish.seed,
                stop=wish.stop,
                on_text=on_text,
                stopped=left,
                remember=True,
            )
        self.tokens_read += found.prompt_tokens
        self.tokens_written += found.completion_tokens
        return found


class Answer:
    """One answer on its way.

    Attributes:
        chunks: what is said of it.
    """

    def __init__(self, answering: Answering, wish: Wish, choice: Choice, call: Call, chunks: Chunks) -> None:
        self.chunks = chunks
        self._answering = answering
        self._wish, self._choice, self._call = wish, choice, call
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        worker = answering.worker
        try:
            self._ticket = worker.submit(self._run)
        except BusyError as error:
            raise ApiError(429, str(error), code="queue_full", retry_seconds=worker.retry_seconds) from None

    async def next(self, seconds: float | None = None) -> Event | None:
        """What comes next; None where nothing has come after so many seconds."""
        with anyio.move_on_after(seconds):
            return await self._events.get()
        return None

    def leave(self) -> None:
        """Nobody waits for it any more; once it is whole that changes nothing."""
        self._answering.worker.leave(self._ticket)

    def _run(self, ticket: Ticket) -> None:
        """Write it, have it learned from, and only then end it: what a client has the end of is kept."""
        try:
            found = self._answering.write(self._wish, self._choice, self._put, ticket.left.is_set)
            if self._choice.learns:
                whole = found.finish == "stop" and not ticket.left.is_set()
                self._answering.learner.hear(self._call, found.text, self.chunks.id, whole=whole)
            self._put(replace(found, finish="stop") if found.finish == "left" else found)
        except BaseException as error:
            self._put(error)

    def _put(self, event: Event) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
