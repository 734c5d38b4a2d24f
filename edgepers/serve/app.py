"""The whole server as one ASGI application: limits, then entry, then this server's own routes or the upstream's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgepers import __version__
from edgepers.errors import EdgepersError, StateError, UsageError
from edgepers.serve.completions import completions_router
from edgepers.serve.entry import Entry, OwnHeaders
from edgepers.serve.failures import ApiError, failure_of, failure_response
from edgepers.serve.limits import Limits
from edgepers.serve.owner_api import owner_router, plain_router
from edgepers.serve.page_files import page_router
from edgepers.serve.serving import Serving
from edgepers.serve.sets_api import sets_router

__all__ = ["build_app"]

_OWN = "/edgepers/"  # and below; before an upstream these paths, and this one, are this server's
_FEEDBACK = "/v1/feedback"


def build_app(serving: Serving) -> ASGIApp:
    """The application of one server."""
    own: ASGIApp = OwnHeaders(_own_app(serving))
    if serving.options.origins:
        own = CORSMiddleware(own, serving.options.origins, allow_methods=["*"], allow_headers=["*"])
    inner = Entry(_Routes(own, serving), serving.options)
    return _Counting(Limits(inner, serving.options.most_body_bytes, serving.log), serving)


def _own_app(serving: Serving) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if serving.proxy is not None:
            await serving.proxy.close()

    app = FastAPI(title="edgepers", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.include_router(owner_router(serving))
    app.include_router(sets_router(serving))
    app.include_router(page_router(serving))
    if serving.proxy is None:
        app.include_router(completions_router(serving))
        app.include_router(plain_router(serving))
    for kind in (ApiError, EdgepersError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _failed)
    _describe_failures(app)
    return app


async def _failed(_: Request, error: Exception) -> Response:
    """The response to a request that cannot be served; it quotes nothing that was sent but names."""
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        what = "the body is no JSON that can be read" if first["type"] == "json_invalid" else str(first["msg"])
        return failure_response(ApiError(400, f"{where}: {what}" if where else what, param=where[:100] or None))
    if isinstance(error, HTTPException):
        known = ApiError(error.status_code, str(error.detail), code="not_found" if error.status_code == 404 else None)
        return failure_response(known, error.headers)
    if isinstance(error, StateError) and failure_of(error).status == 500:
        return failure_response(ApiError(404, str(error), code="unknown"))
    if isinstance(error, UsageError):
        return failure_response(ApiError(400, str(error)))
    return failure_response(failure_of(error))


def _describe_failures(app: FastAPI) -> None:
    """Have the description of the interface tell 400 where FastAPI would tell 422."""
    made = app.openapi

    def described() -> dict[str, Any]:
        for path in made()["paths"].values():
            for operation in path.values():
                if operation["responses"].pop("422", None):
                    operation["responses"]["400"] = {"description": "The request cannot be right."}
        return made()

    app.openapi = described  # type: ignore[method-assign]


class _Routes:
    """This server's own paths go to itself, all others to the upstream where there is one."""

    def __init__(self, own: ASGIApp, serving: Serving) -> None:
        self._own = own
        self._proxy = serving.proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        path = scope.get("path", "")
        if self._proxy is None or scope["type"] != "http" or path.startswith(_OWN) or path == _FEEDBACK:
            await self._own(scope, receive, send)
        else:
            await self._proxy(scope, receive, send)


class _Counting:
    """Counts requests by route and status; a path that is not this server's own is no label."""

    def __init__(self, app: ASGIApp, serving: Serving) -> None:
        self._app = app
        self._requests = serving.metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._requests[_route(scope), message["status"]] += 1
            await send(message)

        await self._app(scope, receive, counting)


def _route(scope: Scope) -> str:
    path: str = scope["path"]
    if path in ("/v1/chat/completions", "/v1/models", _FEEDBACK, "/api/chat"):
        return path
    return _OWN if path.startswith(_OWN) else "other"
