"""What an upstream was asked and has answered, read from a copy of the bytes that passed through."""

import contextlib
import json
import secrets
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgepers.model.prompts import Message
from edgepers.streams.chats import plain_text

__all__ = ["LEARNED_PATHS", "MOST_BYTES", "Exchanged", "Heard", "heard_in"]

LEARNED_PATHS = ("/v1/chat/completions", "/api/chat")
MOST_BYTES = 4_000_000  # of either side; more is not read


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """The bytes of one request that passed through, and of its response.

    Attributes:
        path: of the request.
        asked_headers, answered_headers: names in lower case.
        asked, answered: the bodies.
        whole: False where either was cut, or too long to keep.
    """

    path: str
    asked_headers: Mapping[str, str]
    asked: bytes
    answered_headers: Mapping[str, str]
    answered: bytes
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A call, and what an upstream has answered.

    Attributes:
        messages: of the call.
        headers: of the request, names in lower case.
        answer: the text, without what stands beside it as reasoning.
        name: of the answer.
        whole: it was not cut.
        calls_tools: it calls a tool.
    """

    messages: tuple[Message, ...]
    headers: Mapping[str, str]
    answer: str
    name: str
    whole: bool
    calls_tools: bool


@dataclass(slots=True)
class _Parts:
    """What pieces of an answer come to."""

    text: list[str] = field(default_factory=list)
    name: str = ""
    finish: str = ""
    calls_tools: bool = False

    def add(self, message: object) -> None:
        """A message, or a piece of one."""
        if isinstance(message, dict):
            if isinstance(message.get("content"), str):
                self.text.append(message["content"])
            self.calls_tools = self.calls_tools or bool(message.get("tool_calls") or message.get("function_call"))


def heard_in(exchanged: Exchanged) -> Heard | None:
    """The call and its answer; None where these bytes are none that can be read."""
    try:
        request = json.loads(exchanged.asked)
        answered = _plain(exchanged.answered, exchanged.answered_headers.get("content-encoding", ""))
        if not isinstance(request, dict) or not isinstance(request.get("messages"), list):
            return None
        messages = tuple(_messages(request["messages"]))
        parts = _ollama(answered) if exchanged.path == "/api/chat" else _openai(answered)
    except (ValueError, RecursionError, zlib.error):
        return None
    if not messages or request.get("n") not in (None, 1):
        return None
    return Heard(
        messages=messages,
        headers=exchanged.asked_headers,
        answer="".join(parts.text),
        name=parts.name[:100] or f"chat-{secrets.token_hex(8)}",
        whole=exchanged.whole and parts.finish == "stop",
        calls_tools=parts.calls_tools,
    )


def _messages(messages: list[Any]) -> Iterator[Message]:
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if isinstance(role, str):
            text = plain_text(message.get("content"), "content")
            if text or role != "assistant":
                yield {"role": "system" if role == "developer" else role, "content": text}


def _plain(body: bytes, encoding: str) -> bytes:
    """A body without its compression.

    Raises:
        ValueError: it is of a kind that is not read.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise ValueError(encoding)
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)
    return reader.decompress(body, MOST_BYTES)


def _openai(body: bytes) -> _Parts:
    parts = _Parts()
    if body.lstrip()[:1] == b"{":
        _take_openai(parts, json.loads(body), "message")
        return parts
    events = [line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")]
    if not events:
        raise ValueError("neither JSON nor events")
    for event in events:
        if event not in (b"[DONE]", b""):
            _take_openai(parts, json.loads(event), "delta")
    return parts


def _take_openai(parts: _Parts, record: object, key: str) -> None:
    if not isinstance(record, dict) or "error" in record:
        raise ValueError("an error")
    parts.name = parts.name or str(record.get("id") or "")
    choices = record.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, dict) and choice.get("index", 0) == 0:
            parts.add(choice.get(key))
            parts.finish = str(choice.get("finish_reason") or parts.finish)


def _ollama(body: bytes) -> _Parts:
    parts = _Parts()
    for line in filter(bytes.strip, body.split(b"\n")):
        with contextlib.suppress(UnicodeDecodeError):
            record = json.loads(line)
            if not isinstance(record, dict) or "error" in record:
                raise ValueError("an error")
            parts.add(record.get("message"))
            if record.get("done") is True:
                parts.finish = str(record.get("done_reason") or "stop")
    return parts
