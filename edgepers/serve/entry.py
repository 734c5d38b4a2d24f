"""Who may enter: a token, the names that a request calls this server by, and the pages that may speak to it."""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from edgepers.serve.failures import ApiError, failure_response
from edgepers.serve.options import ServeOptions

__all__ = ["COOKIE", "Entry", "OwnHeaders", "cookie_of", "headers_of", "same_token"]

COOKIE = "edgepers"  # what the page has in place of the token
# For whoever watches whether it is up, and the page itself, which can then ask for the token; they tell nothing.
_OPEN = ("/edgepers/healthz", "/edgepers/", "/edgepers/enter")
_OPEN_FILES = "/edgepers/page/"
_OPEN_WITHOUT_UPSTREAM = ("/healthz", "/")  # before one they are the upstream's
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
        self._token = token
        self._open = frozenset(_OPEN if options.upstream else (*_OPEN, *_OPEN_WITHOUT_UPSTREAM))

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
        path = scope["path"]
        is_open = path in self._open or path.startswith(_OPEN_FILES) or _is_preflight(scope, headers)
        if self._token is not None and not is_open and not self._entitled(headers, self._token):
            raise ApiError(401, "the token is missing or wrong; send it as 'Authorization: Bearer'", code="token")

    @staticmethod
    def _entitled(headers: Mapping[str, str], token: str) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same_token(given.strip(), token):
            return True
        pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
        return any(name == COOKIE and same_token(value, cookie_of(token)) for name, _, value in pairs)

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


def cookie_of(token: str) -> str:
    """What the page's cookie holds: it shows who knows the token, and not the token."""
    return hmac.new(token.encode(), b"the page of edgepers", hashlib.sha256).hexdigest()


def same_token(given: str, wanted: str) -> bool:
    """Whether they are the same, in a time that does not tell how much of them is."""
    return hmac.compare_digest(_digest(given), _digest(wanted))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _is_preflight(scope: Scope, headers: Mapping[str, str]) -> bool:
    return bool(scope["method"] == "OPTIONS" and "access-control-request-method" in headers)


class OwnHeaders:
    """Says of this server's own responses what browsers may do with them: nothing but read, where they do not say."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def adding(message: "dict[str, object]") -> None:
            if message["type"] == "http.response.start":
                there = list(message.get("headers", []))  # type: ignore[call-overload]
                said = {name for name, _ in there}
                message = {**message, "headers": [*there, *(one for one in _OWN_HEADERS if one[0] not in said)]}
            await send(message)

        await self._app(scope, receive, adding if scope["type"] == "http" else send)  # type: ignore[arg-type]
