"""A request for an answer as OpenAI's clients send it, and what of it this model can do."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgepers.model.prompts import Message
from edgepers.serve.failures import ApiError

__all__ = ["ChatMessage", "ChatRequest", "Wish", "text_of", "wish_of"]

ANSWER_TOKENS = 512  # of an answer, where the request does not say how many it may have
MOST_STOPS = 16
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")


class ContentPart(BaseModel):
    """One part of a message's content."""

    model_config = ConfigDict(extra="allow")
    type: str = "text"
    text: str | None = None


class ChatMessage(BaseModel):
    """One turn of a talk, or what a tool has found."""

    model_config = ConfigDict(extra="allow")
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[Any] | None = None


class StreamOptions(BaseModel):
    """What a stream says beside the answer."""

    model_config = ConfigDict(extra="allow")
    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """A talk to be answered; fields that are not named here have no effect."""

    model_config = ConfigDict(extra="allow")
    model: str = Field(max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=4096)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    stop: str | Annotated[list[str], Field(max_length=MOST_STOPS)] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**64)
    n: int | None = None
    tools: list[Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    logprobs: bool | None = None
    response_format: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the model is asked for."""

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    stop: tuple[str, ...]


def text_of(message: ChatMessage) -> str:
    """The text of a turn.

    Raises:
        ApiError: it has a part that is no text.
    """
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    for part in message.content:
        if part.type not in _TEXT_PARTS:
            raise ApiError(400, f"content of type {part.type[:40]!r}: this model reads text alone", param="messages")
    return "\n".join(part.text for part in message.content if part.text)


def wish_of(request: ChatRequest) -> Wish:
    """What the model can be asked for.

    Raises:
        ApiError: something that it cannot do was asked for; 400, with the field.
    """
    _refuse(request)
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    most = request.max_completion_tokens or request.max_tokens or ANSWER_TOKENS
    return Wish(
        messages=tuple(_messages(request.messages)),
        max_tokens=most,
        temperature=request.temperature or 0.0,
        top_p=1.0 if request.top_p is None else request.top_p,
        seed=secrets.randbits(63) if request.seed is None else request.seed,
        stop=tuple(filter(None, stop)),
    )


def _refuse(request: ChatRequest) -> None:
    if request.n not in (None, 1):
        raise ApiError(400, f"n is {request.n}; one answer is given: ask again for another", param="n")
    if request.logprobs:
        raise ApiError(400, "logprobs are not given; leave them away", param="logprobs")
    choice = request.tool_choice
    if request.tools and (isinstance(choice, dict) or choice == "required"):
        raise ApiError(
            400,
            "tool_choice asks for a call, and this model answers in text; give 'auto' or 'none'",
            param="tool_choice",
        )
    form = (request.response_format or {}).get("type", "text")
    if form != "text":
        raise ApiError(400, f"response_format {str(form)[:40]!r} is not given; ask for text", param="response_format")


def _messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """Turns as prompts take them: what a tool has found is told by the user's side."""
    turns: list[Message] = []
    for message in messages:
        text = text_of(message)
        if message.role in ("tool", "function"):
            of = f" of {message.name}" if message.name else ""
            turns.append({"role": "user", "content": f"(The result{of}: {text})"})
        elif text or message.role == "user":
            turns.append({"role": "system" if message.role == "developer" else message.role, "content": text})
    if not any(turn["role"] == "user" for turn in turns):
        raise ApiError(400, "messages have no turn of the user's to answer; give one", param="messages")
    return turns
