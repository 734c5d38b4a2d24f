"""Messages as chat programs and data sets write them: who said what, whether it is whole, and how it was judged.

One reader for all of them: names of fields differ more than their meanings do.
"""

import json
from collections.abc import Mapping
from typing import Any

from edgepers.streams.answers import UNFINISHED
from edgepers.streams.chats import ASIDE, ASSISTANT, NO_WORDS, TOOL, USER, WEIGHT_0, Turn, role_of
from edgepers.streams.form import JsonObject

__all__ = ["is_message", "message_turn", "said", "turns_of", "verdict_of"]

ROLE_FIELDS = ("role", "from", "sender", "speaker", "author", "message_type")
TEXT_FIELDS = (
    "content", "value", "text", "message", "parts", "contentParts", "content_parts", "contentChunks", "utterance",
    "raw_content", "mes",
)  # fmt: skip
ERROR = "an error message as an answer"
REFUSAL = "a refusal"

_TEXT_PARTS = {"text", "input_text", "output_text", "audio_transcription", "markdown", "p"}
_THOUGHT_PARTS = {"thinking", "reasoning", "thought", "think", "thoughts", "redacted_thinking", "reasoning_text"}
_TOOL_PARTS = {
    "tool_use", "tool_result", "tool_call", "tool-call", "tool-result", "tool_calls", "function_call", "functioncall",
    "function_response", "server_tool_use", "web_search_tool_result", "toolcallrequest", "toolcallresult",
    "mcp_tool_use", "mcp_tool_result", "tool-invocation", "code_execution_tool_result",
}  # fmt: skip
_PAIRS = (
    ("human", "assistant"), ("user", "assistant"), ("input", "output"), ("question", "answer"), ("prompt", "response"),
    ("user", "bot"), ("human", "bot"), ("human", "gpt"), ("user", "model"), ("instruction", "output"), ("q", "a"),
)  # fmt: skip
_NOT_TRAINED_FLAGS = ("train", "training", "trainable", "train_on_turn", "loss", "loss_weight")
_BY_USER_FLAGS = ("is_user", "isUser", "is_human", "isHuman", "isCreatedByUser", "from_user")
_UNFINISHED_FLAGS = ("unfinished", "interrupted", "partial", "generating", "isStreaming", "is_partial")
_UNFINISHED_STATES = {
    "in_progress", "incomplete", "stopped", "interrupted", "pending", "length", "max_tokens", "max_output_tokens",
    "finished_partial_completion", "canceled", "cancelled", "aborted", "abort", "streaming", "generating",
}  # fmt: skip
_GOOD = {"good", "like", "liked", "up", "thumbsup", "thumbs_up", "thumbs up", "positive", "true", "yes", "1", "+1"}
_BAD = {"bad", "dislike", "disliked", "down", "thumbsdown", "thumbs_down", "thumbs down", "negative", "false", "no"}


def is_message(value: object) -> bool:
    """Whether a value is one message, and no record that holds more."""
    if not isinstance(value, dict) or not isinstance(value.get("role", value.get("from")), str):
        return False
    if "messages" in value or "conversations" in value:
        return False
    return any(name in value for name in TEXT_FIELDS)


def turns_of(value: object, field: str) -> list[Turn]:
    """Turns of a conversation: a list of messages, of pairs, or of texts by turns; or any of these as JSON in a text.

    Raises:
        ValueError: names the field.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(f"'{field}' is text, and not the JSON of a list") from None
    if not isinstance(value, list):
        raise ValueError(
            f"'{field}' is missing" if value is None else f"'{field}' is {type(value).__name__}, not a list"
        )
    turns: list[Turn] = []
    by_turns = len(value) > 1 and all(isinstance(item, str) for item in value)
    for i, item in enumerate(value):
        where = f"{field}[{i}]"
        if by_turns:
            turns.append(Turn(ASSISTANT if i % 2 else USER, item))
        elif isinstance(item, (dict, list)) and (pair := _pair(item)) is not None:
            turns += (Turn(USER, *said(pair[0], where)), Turn(ASSISTANT, *said(pair[1], where)))
        elif isinstance(item, dict):
            turns.append(message_turn(item, where))
        else:
            raise ValueError(f"'{where}' is {type(item).__name__}, not an object")
    return turns


def _pair(item: JsonObject | list[Any]) -> tuple[object, object] | None:
    if isinstance(item, list):
        both = len(item) == 2 and all(text is None or isinstance(text, str) for text in item)
        return (item[0], item[1]) if both else None
    for asked, answered in _PAIRS:
        if asked in item and answered in item and "role" not in item:
            return item[asked], item[answered]
    return None


def message_turn(message: JsonObject, where: str, role: str | None = None) -> Turn:
    """The turn of one message.

    Args:
        message: with its role and content in any of the usual fields.
        where: names it in what is raised.
        role: where the message does not say it.

    Raises:
        ValueError: names the field.
    """
    if isinstance(message.get("data"), dict) and "content" in message["data"]:  # as LangChain stores it
        message = {**message, **message["data"]}
    role = role or _role_in(message, where)
    if role in (ASIDE, TOOL):
        return Turn(role, "")
    name = next((name for name in TEXT_FIELDS if message.get(name) not in (None, "", [])), "")
    name = name or next((name for name in TEXT_FIELDS if name in message), "content")
    text, lost = said(message.get(name), f"{where}.{name}")
    if role == USER:
        attached = not text and any(message.get(kind) for kind in ("files", "attachments", "images", "image", "media"))
        return Turn(USER, text, NO_WORDS if attached else lost)
    if message.get("tool_calls") or message.get("function_call"):
        return Turn(TOOL, "")
    lost = unusable(message) or lost
    return Turn(ASSISTANT, text, lost, verdict_in(message))


def _role_in(message: JsonObject, where: str) -> str:
    """Who a message says that it is from: by a name, a flag, or its type."""
    name = next((name for name in ROLE_FIELDS if name in message), "")
    if not name and (flag := next((flag for flag in _BY_USER_FLAGS if isinstance(message.get(flag), bool)), "")):
        return USER if message[flag] else ASSISTANT
    name = name or ("type" if isinstance(message.get("type"), str) else "role")
    who = message.get(name)
    if isinstance(who, dict):
        who, name = who.get("role"), f"{name}.role"
    if name == "type" and str(who) in _TOOL_PARTS:
        return TOOL
    return role_of(who, f"{where}.{name}")


def said(content: object, field: str) -> tuple[str, str]:
    """The words of a content, text or parts of which those that are text count, and "" or why they cannot be used.

    Raises:
        ValueError: names the field.
    """
    if content is None:  # an assistant turn that only calls a tool
        return "", ""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, dict):
        content = content["parts"] if isinstance(content.get("parts"), list) else [content]
    if not isinstance(content, list):
        raise ValueError(f"'{field}' is {type(content).__name__}, not text")
    texts: list[str] = []
    lost, other = "", False
    for part in content:
        kind, text = _part(part)
        if kind == "text":
            texts.append(text)
            lost = ""
        elif kind == "tool":  # what was said before is talk about it
            texts, lost = [], "an answer that ends in a tool's call"
        elif kind == "refusal":
            lost = REFUSAL
        elif kind == "other":
            other = True
    joined = "\n".join(filter(None, texts))
    return joined, lost or (NO_WORDS if other and not joined.strip() else "")


def _part(part: object) -> tuple[str, str]:
    """What a part is ("text", "tool", "refusal", "thought", "other"), and its words."""
    if not isinstance(part, dict):
        return ("text", part) if isinstance(part, str) else ("other", "")
    kind = part.get("type", part.get("content_type"))
    kind = kind.lower() if isinstance(kind, str) else "text"
    if kind in _THOUGHT_PARTS or part.get("thought") is True or part.get("isThought") is True:
        return "thought", ""
    if kind in _TOOL_PARTS or any(name in part for name in ("functionCall", "functionResponse", "executableCode")):
        return "tool", ""
    if kind == "refusal":
        return "refusal", ""
    text = part.get("text", part.get("data") if kind == "p" else None)
    if isinstance(text, dict):
        text = text.get("value")
    return ("text", text) if kind in _TEXT_PARTS and isinstance(text, str) else ("other", "")


def unusable(message: Mapping[str, Any]) -> str:
    """Why nothing may be learned of an answer that its program marks so; "" where something may."""
    if message.get("refusal"):
        return REFUSAL
    status, finish = message.get("status"), message.get("finish_reason", message.get("finishReason"))
    if message.get("error") or message.get("isError") is True or status == "error" or message.get("errorMessage"):
        return ERROR
    states = {str(state).lower() for state in (status, finish, message.get("stop_reason")) if isinstance(state, str)}
    if message.get("done") is False or states & _UNFINISHED_STATES:
        return UNFINISHED
    if any(message.get(flag) is True for flag in _UNFINISHED_FLAGS):
        return UNFINISHED
    weights = (message[name] for name in ("weight", *_NOT_TRAINED_FLAGS) if name in message)
    return WEIGHT_0 if any(isinstance(weight, (int, float)) and weight == 0 for weight in weights) else ""


def verdict_in(message: Mapping[str, Any]) -> str:
    """What the owner has said of a message in the program that it comes from: "good", "bad", or "" for nothing."""
    for name in ("annotation", "feedback", "reaction", "rating"):
        value = message.get(name)
        if isinstance(value, dict):
            value = value.get("rating", value.get("value", value.get("type")))
        if verdict := verdict_of(value):
            return verdict
    return ""


def verdict_of(value: object) -> str:
    """What a thumb says, by whatever name or number it goes: "good", "bad", or "" for nothing."""
    if isinstance(value, bool):
        return "good" if value else "bad"
    if isinstance(value, (int, float)):
        return "good" if value == 1 else "bad" if value == -1 else ""
    word = value.strip().lower() if isinstance(value, str) else ""
    return "good" if word in _GOOD else "bad" if word in _BAD or word == "-1" else ""
