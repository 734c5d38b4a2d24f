"""Stands before another server and passes everything through, byte for byte and chunk by chunk, either way.

Of answered talks it keeps a copy, to learn from; the client sees what the upstream did, and nothing else.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable

import httpx
from starlette.types import Message, Receive, Scope, Send

from edgepers.serve.failures import ApiError, failure_response
from edgepers.serve.heard import LEARNED_PATHS, MOST_BYTES, Exchanged

__all__ = ["Proxy"]

CONNECT_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 2.0  # less than the 5 s of llama.cpp and uvicorn, who then close a connection as it is used again
# Of one connection alone (RFC 9110, 7.6.1); each side has its own.
_HOP = (
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
)  # fmt: skip

Headers = list[tuple[bytes, bytes]]


class Proxy:
    """Passes requests on to an upstream.

    Args:
        upstream: its address.
        on_exchange: is given a copy of each talk that was answered.
    """

    def __init__(self, upstream: str, on_exchange: Callable[[Exchanged], None]) -> None:
        self._upstream = httpx.URL(upstream.rstrip("/"))
        self._on_exchange = on_exchange
        self._client: httpx.AsyncClient | None = None
        self._last = time.monotonic()
        self.in_flight = 0

    @property
    def idle_seconds(self) -> float:
        """Since the last request ended; 0 while there is one."""
        return 0.0 if self.in_flight else time.monotonic() - self._last

    async def close(self) -> None:
        """Close the connections to the upstream."""
        if self._client is not None:
            await self._client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        self.in_flight += 1
        try:
            passage = _Passage(
                self._opened(), self._upstream, self._on_exchange, scope=scope, receive=receive, send=send
            )
            await passage.run()
        finally:
            self.in_flight -= 1
            self._last = time.monotonic()

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
                limits=httpx.Limits(
                    max_connections=None, max_keepalive_connections=32, keepalive_expiry=KEEP_ALIVE_SECONDS
                ),
                trust_env=False,
            )
        return self._client


class _Passage:
    """One request and its response on their way."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        upstream: httpx.URL,
        on_exchange: Callable[[Exchanged], None],
        *,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._client, self._upstream = client, upstream
        self._scope, self._receive, self._send = scope, receive, send
        self._on_exchange = on_exchange
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        self._learned = scope["method"] == "POST" and path in LEARNED_PATHS
        self._asked, self._answered = _Copy(self._learned), _Copy(self._learned)
        self._body_read = asyncio.Event()

    async def run(self) -> None:
        """Pass it through until either side ends."""
        passing = asyncio.ensure_future(self._pass())
        leaving = asyncio.ensure_future(self._until_left())
        try:
            await asyncio.wait((passing, leaving), return_when=asyncio.FIRST_COMPLETED)
            if passing.done():
                passing.result()
        finally:
            for task in (passing, leaving):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task

    async def _until_left(self) -> None:
        """Ends when the client has left; its body comes first, to whoever passes it on."""
        await self._body_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _body(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionAbortedError("the client left")
            part = message.get("body", b"")
            more = message.get("more_body", False)
            self._asked.add(part)
            if part:
                yield part
        self._body_read.set()

    async def _pass(self) -> None:
        headers = [(name, value) for name, value in _kept(self._scope["headers"]) if name != b"host"]
        names = {name for name, _ in self._scope["headers"]}
        has_body = b"content-length" in names or b"transfer-encoding" in names
        if not has_body:
            self._body_read.set()
            await self._receive()  # the empty body
        raw_path = self._upstream.raw_path.rstrip(b"/") + self._scope["raw_path"].partition(b"?")[0]
        query = self._scope["query_string"]
        request = httpx.Request(
            self._scope["method"],
            self._upstream.copy_with(raw_path=raw_path + (b"?" + query if query else b"")),
            headers=[(b"host", self._upstream.netloc), *headers],
            content=self._body() if has_body else None,
        )
        if not has_body:
            request.headers.pop("content-length", None)
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            status = 504 if isinstance(error, httpx.TimeoutException) else 502
            failure = ApiError(status, f"the upstream cannot be reached ({type(error).__name__})", code="upstream")
            await failure_response(failure)(self._scope, self._receive, self._send)
            return
        try:
            await self._answer(response)
        finally:
            await response.aclose()

    async def _answer(self, response: httpx.Response) -> None:
        given = [(name.lower(), value) for name, value in response.headers.raw]
        await self._send({"type": "http.response.start", "status": response.status_code, "headers": _kept(given)})
        try:
            async for part in response.aiter_raw():
                self._answered.add(part)
                await self._send(_part(part, more=True))
        except httpx.TransportError:
            self._hear(response, whole=False)
            raise ConnectionAbortedError("the upstream broke off") from None  # and so does this connection
        self._hear(response, whole=True)
        await self._send(_part(b"", more=False))

    def _hear(self, response: httpx.Response, *, whole: bool) -> None:
        if self._learned and response.status_code == httpx.codes.OK:
            asked = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._scope["headers"]}
            self._on_exchange(
                Exchanged(
                    path=self._scope["path"],
                    asked_headers=asked,
                    asked=self._asked.data(),
                    answered_headers=dict(response.headers),
                    answered=self._answered.data(),
                    whole=whole and self._asked.whole and self._answered.whole,
                )
            )


class _Copy:
    """A copy of what passes through, as far as it is wanted and not too long."""

    def __init__(self, wanted: bool) -> None:
        self._parts: list[bytes] = []
        self._left = MOST_BYTES if wanted else 0
        self.whole = True

    def add(self, part: bytes) -> None:
        """Part of it."""
        self._left -= len(part)
        if self._left >= 0:
            self._parts.append(part)
        else:
            self.whole = False

    def data(self) -> bytes:
        """All of it, or its beginning."""
        return b"".join(self._parts)


def _kept(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers that are for the other end."""
    listed = list(headers)
    named = b",".join(value for name, value in listed if name == b"connection").lower()
    hop = {*_HOP, *(token.strip() for token in named.split(b","))}
    return [(name, value) for name, value in listed if name not in hop]


def _part(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
