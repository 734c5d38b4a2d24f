"""What a client may take: bytes of a body, and seconds to send and to read. A fault of ours tells nobody's text."""

import asyncio
import traceback
from collections.abc import Callable

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgepers.serve.entry import headers_of
from edgepers.serve.failures import ApiError, failure_of, failure_response

__all__ = ["Limits", "PatientProtocol", "where"]

HEAD_SECONDS = 15.0  # for the head of a first request
BODY_SECONDS = 60.0  # for a whole body
READ_SECONDS = 60.0  # for reading what was sent, once the buffers between are full


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, which waits for the head of a connection's first request for so long and no longer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


class Limits:
    """Bounds every request, and is the last to see an error.

    Args:
        app: behind it.
        most_body_bytes: of a body.
        log: gets one line about an error of ours, without its text.
    """

    def __init__(self, app: ASGIApp, most_body_bytes: int, log: Callable[[str], None]) -> None:
        self._app = app
        self._most = most_body_bytes
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._most)
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if body.refused is not None and not started:  # whoever read the body may have made another failure of it
                raise body.refused
            started = True
            with anyio.fail_after(READ_SECONDS):
                await send(message)

        try:
            self._check_length(headers_of(scope).get("content-length"))
            await self._app(scope, body.receive, sending)
        except ConnectionError:
            raise
        except Exception as error:
            if started and isinstance(error, TimeoutError):
                raise ConnectionAbortedError("a client did not read what it was sent") from None
            refused = body.refused or (error if isinstance(error, ApiError) else None)
            if refused is None:
                self._log(f"a request failed: {where(error)}")
            if started:
                raise ConnectionAbortedError("a response that had begun failed") from None
            await self._fail(refused or failure_of(error), scope, receive, send)

    def _check_length(self, length: str | None) -> None:
        if length is not None and (not length.isdigit() or int(length[:20]) > self._most):
            raise _too_large(self._most)

    @staticmethod
    async def _fail(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
        await failure_response(error, {"connection": "close"})(scope, receive, send)


class _Body:
    """Receives a body within its bounds."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._left = most
        self._most = most
        self._until: float | None = None
        self._whole = False
        self.refused: ApiError | None = None

    async def receive(self) -> Message:
        """The next part of the body; then, whenever that is, that the client has left."""
        if self._whole:
            return await self._receive()
        now = asyncio.get_running_loop().time()
        self._until = self._until or now + BODY_SECONDS
        try:
            with anyio.fail_after(max(self._until - now, 0.001)):
                message = await self._receive()
        except TimeoutError:
            self.refused = ApiError(408, "the request took too long to send", code="slow")
            raise self.refused from None
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._left < 0:
                self.refused = _too_large(self._most)
                raise self.refused
        return message


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"the body is larger than {most} bytes; start the server with --max-body", code="too_large")


def where(error: BaseException) -> str:
    """The kind of an error and the lines that it came through, without what it says."""
    lines = [
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
    ]
    return f"{type(error).__name__} at {' > '.join(lines[-6:])}"
