"""Who may enter: a token, the names that a request calls this server by, and the pages that may speak to it."""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from edgepers.serve.failures import ApiError, failure_response
from edgepers.serve.options import ServeOptions

__all__ = ["Entry", "OwnHeaders", "headers_of"]

_OPEN = ("/healthz", "/edgepers/healthz")  # for whoever watches whether it is up; it tells nothing
_READING = ("GET", "HEAD", "OPTIONS")
_OWN_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


def headers_of(scope: Scope) -> dict[str, str]:
    """A request's headers, names in lower case; of one that comes twice the first."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found


class Entry:
    """Refuses whoever may not enter, before anything of the request is read.

    A page of another server that a browser runs can reach a server on this machine: by a name of its own that resolves
    here (which `Host` shows; an address in digits is no such name), or straight away (which `Origin` shows).

    Args:
        app: behind it.
        options: who may enter.
    """

    def __init__(self, app: ASGIApp, options: ServeOptions) -> None:
        self._app = app
        self._hosts, self._origins = options.hosts, options.origins
        token = options.token()
        self._token = None if token is None else _digest(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "http":
            headers = headers_of(scope)
            try:
                self._check(scope, headers)
            except ApiError as error:
                await failure_response(error)(scope, receive, send)
                return
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "")
        if not self._known(host):
            raise ApiError(
                403, f"this server is not known as {host[:80]!r}; start it with --allow-host", code="unknown_host"
            )
        origin = headers.get("origin")
        if origin is not None and scope["method"] not in _READING and not self._same(origin, host, scope["scheme"]):
            raise ApiError(
                403, f"pages of {origin[:80]!r} may not use this server; start it with --allow-origin", code="origin"
            )
        if self._token is None or scope["path"] in _OPEN or _is_preflight(scope, headers):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(_digest(given.strip()), self._token):
            raise ApiError(401, "the token is missing or wrong; send it as 'Authorization: Bearer'", code="token")

    def _known(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return False
        return True

    def _same(self, origin: str, host: str, scheme: str) -> bool:
        low = origin.lower().rstrip("/")
        return low == f"{scheme}://{host.lower()}" or low in self._origins


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _is_preflight(scope: Scope, headers: Mapping[str, str]) -> bool:
    return bool(scope["method"] == "OPTIONS" and "access-control-request-method" in headers)


class OwnHeaders:
    """Says of this server's own responses what browsers may do with them: nothing but read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def adding(message: "dict[str, object]") -> None:
            if message["type"] == "http.response.start":
                there = list(message.get("headers", []))  # type: ignore[call-overload]
                message = {**message, "headers": [*there, *_OWN_HEADERS]}
            await send(message)

        await self._app(scope, receive, adding if scope["type"] == "http" else send)  # type: ignore[arg-type]
