"""Read conversations as dialogue sets: each assistant turn is a set, and what came before it is context."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from edgepers.streams.types import DialogueSet

__all__ = ["CONTEXT_CHARS", "Turn", "plain_text", "role_of", "sets_of", "with_context", "without_context"]

CONTEXT_CHARS = 600  # of earlier turns before a question: about 150 tokens, of the 512 that scoring and training read
_TURN_CHARS = 240  # of one earlier turn
_CONTEXT = re.compile(r"((?:(?:User|Assistant): [^\n]*\n)+)\n")

# What a reasoning model thought before it answered: as it writes it, and as Open WebUI folds it away.
_THOUGHTS = re.compile(r"^\s*(?:<think>.*?</think>|<details type=\"reasoning\".*?</details>)", re.DOTALL)

USER, ASSISTANT, ASIDE = "user", "assistant", ""
_ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "patient", "customer", "病人"), USER),
    **dict.fromkeys(
        ("assistant", "gpt", "chatgpt", "model", "bot", "ai", "bing", "bard", "claude", "doctor", "医生"), ASSISTANT
    ),
    **dict.fromkeys(
        (
            "system",
            "developer",
            "tool",
            "function",
            "function_call",
            "function_response",
            "observation",
            "tool_call",
            "tool_response",
        ),
        ASIDE,
    ),
}


class Turn(NamedTuple):
    """What one side said; `role` is "user", "assistant", or "" for what neither said (system and tool turns)."""

    role: str
    text: str


def role_of(value: object, field: str) -> str:
    """The role that a name stands for.

    Raises:
        ValueError: names the field.
    """
    if not isinstance(value, str):
        raise ValueError(f"'{field}' is {_kind(value)}, not text")
    role = _ROLES.get(value.strip().lower())
    if role is None:
        raise ValueError(f"'{field}' is {value[:40]!r}; roles are user, assistant, system and tool")
    return role


def plain_text(value: object, field: str) -> str:
    """The text of a turn's content: text, or a list of parts of which those that are text count (images do not).

    Raises:
        ValueError: names the field.
    """
    if value is None:  # an assistant turn that only calls a tool
        return ""
    if isinstance(value, str):
        text = value
    elif isinstance(value, list):
        text = "\n".join(filter(None, (_part(part) for part in value)))
    else:
        raise ValueError(f"'{field}' is {_kind(value)}, not text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"'{field}' holds half a surrogate pair") from None
    return text.strip()


def _part(part: object) -> str:
    if isinstance(part, str):
        return part
    if (
        isinstance(part, dict)
        and part.get("type", "text") in ("text", "input_text", "output_text")
        and isinstance(part.get("text"), str)
    ):
        return str(part["text"])
    return ""


def _kind(value: object) -> str:
    return "missing" if value is None else type(value).__name__


def with_context(earlier: Sequence[Turn], question: str) -> str:
    r"""The question under its last earlier turns, as many whole lines as fit; a long turn keeps its beginning.

    Example:
        "User: I have a dog.\nAssistant: What is she called?\n\nMoon. Can she swim?"
    """
    lines: list[str] = []
    room = CONTEXT_CHARS
    for turn in reversed(earlier):
        text = " ".join(turn.text.split())
        line = f"{turn.role.capitalize()}: {text if len(text) <= _TURN_CHARS else text[: _TURN_CHARS - 1] + '…'}"
        room -= len(line) + 1
        if room < 0:
            break
        lines.insert(0, line)
    return "\n".join(lines) + "\n\n" + question if lines else question


def without_context(question: str) -> tuple[str, str]:
    """What `with_context` has put together: the lines of earlier turns, "" where there are none, and the question."""
    found = _CONTEXT.match(question)
    return ("", question) if found is None else (found[1].rstrip("\n"), question[found.end() :])


def sets_of(turns: Sequence[Turn], field: str, identity: object, *, known: str = "response") -> list[DialogueSet]:
    """One set an assistant turn that follows a user turn.

    Neighbouring turns of one side are one turn; system, tool and empty turns are passed over; what the assistant says
    before the first user turn is context alone. `known` tells whether the assistant's words are a response or a
    reference.

    Raises:
        ValueError: there is no such turn; names the field.
    """
    merged: list[Turn] = []
    for role, said in turns:
        text = _THOUGHTS.sub("", said).strip() if role == ASSISTANT else said
        if not role or not text:
            continue
        if merged and merged[-1].role == role:
            merged[-1] = Turn(role, f"{merged[-1].text}\n\n{text}")
        else:
            merged.append(Turn(role, text))
    sets: list[DialogueSet] = []
    for i, turn in enumerate(merged):
        if i and turn.role == ASSISTANT:
            name = None if identity is None else f"{identity}-{len(sets)}"
            question = with_context(merged[: i - 1], merged[i - 1].text)
            sets.append(DialogueSet(question, id=name, **{known: turn.text}))
    if not sets:
        raise ValueError(f"'{field}' is empty" if not turns else f"'{field}' has no assistant turn after a user turn")
    return sets
