"""Answers as OpenAI's clients read them: whole, or in chunks of server-sent events."""

import json
from dataclasses import dataclass
from typing import Any

from edgepers.model.language_model import Completion

__all__ = ["DONE", "Chunks", "event", "usage_of"]

DONE = b"data: [DONE]\n\n"


def event(record: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(record, ensure_ascii=False)}\n\n".encode()


def usage_of(completion: Completion) -> dict[str, int]:
    """Tokens read and written."""
    read, written = completion.prompt_tokens, completion.completion_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunks:
    """Everything that is said of one answer.

    Attributes:
        id: of the answer, by which it can be judged.
        created: seconds since 1970.
        model: as it was asked for.
        fingerprint: of what has answered: the adapter.
        with_usage: the stream tells how many tokens there were.
    """

    id: str
    created: int
    model: str
    fingerprint: str
    with_usage: bool = False

    def first(self) -> bytes:
        """Whose turn it is."""
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, text: str) -> bytes:
        """A piece of the answer."""
        return self._chunk({"content": text})

    def last(self, completion: Completion) -> bytes:
        """Why the answer is over, and all that follows."""
        end = self._chunk({}, completion.finish)
        if self.with_usage:
            end += event({**self._head("chat.completion.chunk"), "choices": [], "usage": usage_of(completion)})
        return end + DONE

    def whole(self, completion: Completion) -> dict[str, Any]:
        """The answer at once."""
        message = {"role": "assistant", "content": completion.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": completion.finish}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage_of(completion)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self.with_usage else {}
        return event({**self._head("chat.completion.chunk"), "choices": [choice], **usage})
