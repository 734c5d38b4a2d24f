"""Conversations as lists of messages: `messages`, ShareGPT's, UltraChat's, and one message a line."""

from collections.abc import Callable, Sequence

from edgepers.streams.chats import USER, Turn, sets_of
from edgepers.streams.contents import ROLE_FIELDS, is_message, message_turn, turns_of
from edgepers.streams.datasets.columns import ANSWERS, SAID
from edgepers.streams.datasets.marked_text import answer_turns
from edgepers.streams.form import Form, JsonObject, Way, has, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["MESSAGE", "MESSAGES", "SHAREGPT", "ULTRACHAT"]

_SHAREGPT = ("conversations", "conversation")
_LISTS = ("dialog", "dialogue", "turns")


def _of(*fields: str) -> Callable[[JsonObject, Way], list[DialogueSet]]:
    def sets(record: JsonObject, way: Way) -> list[DialogueSet]:
        field = next((name for name in fields if name in record), fields[0])
        turns = turns_of(record.get(field), field)
        known, more = _answered(record, turns)
        return sets_of([*turns, *more], field, identity_of(record), way.notes, known=known, last_alone=bool(more))

    return sets


def _answered(record: JsonObject, turns: Sequence[Turn]) -> tuple[str, list[Turn]]:
    """The answer to a conversation that ends with a question, where it stands in a column beside it."""
    if not turns or turns[-1].role != USER:
        return "response", []
    for known, names in (("reference", ANSWERS), ("response", SAID)):
        for name in names:
            if record.get(name):
                return known, answer_turns(record[name], name)
    return "response", []


def _is_sharegpt(record: JsonObject) -> bool:
    return any(name in record for name in _SHAREGPT) or any(isinstance(record.get(name), list) for name in _LISTS)


def _is_ultrachat(record: JsonObject) -> bool:
    data = record.get("data")
    return isinstance(data, list) and len(data) > 1 and all(isinstance(text, str) for text in data)


def _conversation(row: JsonObject) -> object:
    message_turn(row, "message")
    return next((str(row[name]) for name in ("thread_id", "conversation_id", "chatId") if row.get(name)), "")


def _begins(row: JsonObject) -> bool:
    return next((row.get(name) for name in ROLE_FIELDS if name in row), None) in ("user", "human")


def _rows(record: JsonObject, way: Way) -> list[DialogueSet]:
    rows = record["rows"]
    turns = [message_turn(row, f"message {i + 1}") for i, row in enumerate(rows)]
    return sets_of(turns, "messages", _conversation(rows[0]) or None, way.notes)


MESSAGES = Form("messages", "chat messages: each assistant turn is one set", has("messages"), _of("messages"))
SHAREGPT = Form(
    "sharegpt",
    "ShareGPT conversations: each assistant turn is one set",
    _is_sharegpt,
    _of(*_SHAREGPT, *_LISTS),
)
ULTRACHAT = Form("ultrachat", "UltraChat's turns by turns: each answer is one set", _is_ultrachat, _of("data"))
MESSAGE = Form(
    "message", "one message a line: each assistant turn is one set", is_message, _rows, _conversation, _begins
)
