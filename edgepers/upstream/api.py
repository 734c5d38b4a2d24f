"""An upstream's interface over HTTP: JSON in, JSON out, and one line where it fails."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from edgepers.errors import UpstreamError

__all__ = ["ANSWER_SECONDS", "Api"]

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 120.0
MOST_TRIES = 4  # of a request that is broken off without an answer
_PART_BYTES = 1 << 20
_LOOK_SECONDS = 0.5


class Api:
    """Calls one server; close it when it is done with.

    Args:
        address: of the server.
        seconds: that it may be silent.
    """

    def __init__(self, address: str, seconds: float = ANSWER_SECONDS) -> None:
        self.address = address
        timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        self._client = httpx.Client(base_url=address.rstrip("/"), timeout=timeout, trust_env=False)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def call(self, method: str, path: str, body: Any = None, *, seconds: float | None = None) -> Any:
        """What it answers, as JSON; `seconds`: that it may be silent, where that is more than usual.

        Raises:
            UpstreamError: it cannot be reached, refuses, or answers something else.
        """
        more = {} if seconds is None else {"timeout": httpx.Timeout(seconds, connect=CONNECT_SECONDS)}
        response = self._done(method, path, json=body, **more)
        try:
            return response.json() if response.content else None
        except ValueError:
            raise UpstreamError(f"{self.address}{path}: its answer is no JSON") from None

    def found(self, path: str) -> Any:
        """What it has at a path, as JSON; None where that is nothing.

        Raises:
            UpstreamError: it cannot be reached.
        """
        response = self._sent("GET", path)
        try:
            return None if response.is_error else response.json()
        except ValueError:
            return None

    def has(self, path: str) -> bool:
        """Whether there is something at a path.

        Raises:
            UpstreamError: it cannot be reached.
        """
        return not self._sent("HEAD", path).is_error

    def send_file(self, path: str, file: Path) -> None:
        """Post a file's bytes.

        Raises:
            UpstreamError: it cannot be reached, or refuses.
        """

        def parts() -> Iterator[bytes]:
            with file.open("rb") as opened:
                while part := opened.read(_PART_BYTES):
                    yield part

        self._done("POST", path, content=parts(), headers={"content-length": str(file.stat().st_size)})

    def until_up(self, path: str, seconds: float) -> None:
        """Wait until a path answers, as after a restart.

        Raises:
            UpstreamError: it has not after so many seconds.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                if not self._sent("GET", path).is_error:
                    return
            except UpstreamError:
                pass  # it is not up yet
            if time.monotonic() >= end:
                raise UpstreamError(f"{self.address}: not up again {seconds:.0f} s after its restart; look at its log")
            time.sleep(_LOOK_SECONDS)

    def _done(self, method: str, path: str, **content: Any) -> httpx.Response:
        response = self._sent(method, path, **content)
        if response.is_error:
            raise UpstreamError(f"{self.address}{path}: status {response.status_code}{_said(response)}")
        return response

    def _sent(self, method: str, path: str, **content: Any) -> httpx.Response:
        tries = 1 if "content" in content else MOST_TRIES
        try:
            while True:
                try:
                    return self._client.request(method, path, **content)
                except httpx.RemoteProtocolError:  # llama.cpp's router breaks off one in twenty requests
                    tries -= 1
                    if not tries:
                        raise
        except httpx.HTTPError as error:
            raise UpstreamError(f"{self.address}: cannot be reached ({type(error).__name__}); is it up?") from None


def _said(response: httpx.Response) -> str:
    """What an error's body says, where it says something short."""
    try:
        body = response.json()
        error = body["error"] if isinstance(body, dict) else ""
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return ""
    line = " ".join(text.split())
    return f", {line[:200]}" if line else ""
