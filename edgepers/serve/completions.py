"""`/v1/chat/completions` and `/v1/models`: what OpenAI's clients ask of the model here."""

import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from edgepers.model.language_model import Completion
from edgepers.serve.answer import Answer, Event
from edgepers.serve.chunks import event as sse
from edgepers.serve.failures import failure_of
from edgepers.serve.hints import hints_of
from edgepers.serve.lessons import Call
from edgepers.serve.models import choose, listed, record_of
from edgepers.serve.serving import Serving
from edgepers.serve.wire import ChatRequest, text_of, wish_of

__all__ = ["completions_router"]

_LOOK_SECONDS = 0.25  # between two looks whether the client is still there
_LEFT = 499  # nobody reads it


class _LeftError(Exception):
    """The client has left."""


def completions_router(serving: Serving) -> APIRouter:
    """The routes over one server's state."""
    router = APIRouter()
    owner = serving.owner

    @router.get("/v1/models")
    def models() -> dict[str, Any]:
        """All models: the personal one, the base, and the personal one as it was earlier."""
        return {"object": "list", "data": listed(owner, serving.began)}

    @router.get("/v1/models/{model:path}")
    def model(model: str) -> dict[str, Any]:
        """One model."""
        return record_of(owner, choose(owner, model), serving.began)

    @router.post("/v1/chat/completions", response_model=None)
    async def chat_completions(body: ChatRequest, request: Request) -> Response:
        """Answer a talk, whole or as a stream of server-sent events."""
        choice, wish = choose(owner, body.model), wish_of(body)
        messages = [
            {"role": "system" if message.role == "developer" else message.role, "content": text_of(message)}
            for message in body.messages
        ]
        call = Call(messages=messages, hints=hints_of(request.headers))
        with_usage = bool(body.stream_options and body.stream_options.include_usage)
        answer = serving.answering.begin(wish, choice, call, with_usage=with_usage)
        try:
            talk = _Talk(serving, answer, request)
            first = await talk.next()
            if body.stream:
                headers = {"x-accel-buffering": "no"}
                return StreamingResponse(talk.stream(first), media_type="text/event-stream", headers=headers)
            return JSONResponse(answer.chunks.whole(await talk.end(first)))
        except _LeftError:
            serving.metrics.left += 1
            return Response(status_code=_LEFT)
        except BaseException:
            answer.leave()
            raise

    return router


class _Talk:
    """One answer and the client that waits for it."""

    def __init__(self, serving: Serving, answer: Answer, request: Request) -> None:
        self._metrics = serving.metrics
        self._answer = answer
        self._request = request
        self._began = self._looked = time.monotonic()
        self._first: float | None = None

    async def next(self) -> str | Completion:
        """What comes next, while the client is there.

        Raises:
            ApiError: the answer failed.
            _LeftError: the client has left, and the answer is given up.
        """
        found = None
        while found is None:
            if time.monotonic() - self._looked >= _LOOK_SECONDS:
                self._looked = time.monotonic()
                if await self._request.is_disconnected():
                    self._answer.leave()
                    raise _LeftError
            found = await self._answer.next(_LOOK_SECONDS)
        return self._seen(found)

    def _seen(self, found: Event) -> str | Completion:
        if isinstance(found, BaseException):
            raise failure_of(found)
        now = time.monotonic() - self._began
        self._first = self._first or now
        if isinstance(found, Completion):
            self._metrics.answered(self._first, now)
        return found

    async def end(self, found: str | Completion) -> Completion:
        """The whole answer."""
        while not isinstance(found, Completion):
            found = await self.next()
        return found

    async def stream(self, found: str | Completion) -> AsyncIterator[bytes]:
        """Its chunks, each as it is written."""
        chunks, whole = self._answer.chunks, False
        try:
            yield chunks.first()
            while not isinstance(found, Completion):
                yield chunks.piece(found)
                try:
                    following = await self._answer.next()
                    assert following is not None  # it waits for as long as it takes
                    found = self._seen(following)
                except Exception as error:  # the status has been sent: the stream says what went wrong
                    whole = True
                    yield sse(failure_of(error).body())
                    return
            whole = True
            yield chunks.last(found)
        finally:
            if not whole:
                self._metrics.left += 1
            self._answer.leave()
