"""The page and its files, as they lie in the package, and the way in for whoever has the token."""

from importlib import resources

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from edgepers.serve.entry import COOKIE, cookie_of, same_token
from edgepers.serve.failures import ApiError
from edgepers.serve.serving import Serving

__all__ = ["page_router"]

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
)
_COOKIE_SECONDS = 180 * 24 * 3600


class Token(BaseModel):
    """The token of the server's file."""

    token: str = Field(max_length=1000)


def page_router(serving: Serving) -> APIRouter:
    """The page at `/edgepers/`, and at `/` where no upstream has that."""
    router = APIRouter()
    files = {file.name: file.read_bytes() for file in resources.files("edgepers.serve").joinpath("page").iterdir()}
    token = serving.options.token()

    def page() -> Response:
        """The owner's page."""
        return _file(files, "index.html")

    router.add_api_route("/edgepers/", page, methods=["GET"], include_in_schema=False)
    if serving.proxy is None:
        router.add_api_route("/", page, methods=["GET"], include_in_schema=False)

    @router.get("/edgepers/page/{name}", include_in_schema=False)
    def page_file(name: str) -> Response:
        """A file of the page."""
        return _file(files, name)

    @router.post("/edgepers/enter", status_code=204)
    def enter(given: Token, request: Request) -> Response:
        """Let the page in that knows the token: it is given a cookie."""
        if token is not None and not same_token(given.token, token):
            raise ApiError(403, "that is not the token", code="token")
        response = Response(status_code=204)
        if token is not None:
            secure = request.url.scheme == "https"
            response.set_cookie(
                COOKIE, cookie_of(token), _COOKIE_SECONDS, path="/", secure=secure, httponly=True, samesite="strict"
            )
        return response

    return router


def _file(files: dict[str, bytes], name: str) -> Response:
    if name not in files:
        raise ApiError(404, "no such file of the page", code="not_found")
    kind = _KINDS[name[name.rindex(".") :]]
    return Response(files[name], media_type=kind, headers={"content-security-policy": _POLICY})
