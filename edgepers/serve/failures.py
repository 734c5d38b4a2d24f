"""What went wrong, in the form and with the status codes that OpenAI's clients know."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from edgepers.errors import BusyError, EdgepersError

__all__ = ["ApiError", "failure_of", "failure_response"]

_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
}


class ApiError(Exception):
    """An answer that is a failure.

    Attributes:
        status: of HTTP.
        code: a word for programs, such as "model_not_found".
        param: the field that is wrong.
        retry_seconds: after which it may be tried again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_seconds = retry_seconds

    def body(self) -> dict[str, Any]:
        """As clients read it."""
        kind = _KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def failure_of(error: BaseException) -> ApiError:
    """What a client hears of an error; of one that nobody foresaw only that there was one: its text may be a talk's."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, BusyError):
        return ApiError(503, str(error), code="busy", retry_seconds=10)
    if isinstance(error, EdgepersError):
        return ApiError(500, str(error), code="failed")
    return ApiError(500, f"an error that is ours ({type(error).__name__}); please report it", code="fault")


def failure_response(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    """The response that says so."""
    extra = dict(headers or {})
    if error.retry_seconds is not None:
        extra["retry-after"] = str(error.retry_seconds)
    if error.status == 401:
        extra["www-authenticate"] = "Bearer"
    return Response(json.dumps(error.body()), error.status, extra, media_type="application/json")
