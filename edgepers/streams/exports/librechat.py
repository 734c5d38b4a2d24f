"""LibreChat's export of a conversation: a list of messages, or a tree of them, with who wrote each."""

from typing import Any

from edgepers.streams.branches import branch, made_anew, named_in
from edgepers.streams.chats import ASSISTANT, USER, Turn, sets_of
from edgepers.streams.contents import message_turn
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["LIBRECHAT"]

_PARENT = "parentMessageId"


def _matches(record: JsonObject) -> bool:
    messages = record.get("messages", record.get("messagesTree"))
    first = messages[0] if isinstance(messages, list) and messages else None
    return isinstance(first, dict) and "isCreatedByUser" in first


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    nodes: dict[str, Any] = {}
    stack: list[tuple[str | None, Any]] = [
        (None, message) for message in reversed(record.get("messages", record.get("messagesTree")) or [])
    ]
    while stack:
        above, message = stack.pop()
        if not isinstance(message, dict):
            raise ValueError(f"'messages' holds {type(message).__name__}, not an object")
        name = str(message.get("messageId", len(nodes)))
        nodes[name] = {**message, _PARENT: message.get(_PARENT, above)}
        below = message.get("children")
        stack += [(name, child) for child in reversed(below if isinstance(below, list) else [])]
    for node in nodes.values():
        node[_PARENT] = named_in(nodes, node[_PARENT])
    answered = [node[_PARENT] for node in nodes.values()]
    linear = len(set(answered)) == len(answered)
    last = next(reversed(nodes), None) if linear else None
    found = branch(nodes, last, "messages", way.notes, parent=_PARENT, named="current message", time=_time)
    made_anew(nodes, found, way.notes, lambda node: not node.get("isCreatedByUser"), _PARENT)
    turns = [_turn(node, f"messages[{i}]") for i, node in enumerate(found)]
    return sets_of(turns, "messages", identity_of(record), way.notes)


def _time(node: JsonObject) -> object:
    return node.get("createdAt")


def _turn(node: JsonObject, where: str) -> Turn:
    return message_turn(node, where, USER if node.get("isCreatedByUser") is True else ASSISTANT)


LIBRECHAT = Form("librechat", "LibreChat's export: each answer of the newest branch is one set", _matches, _sets)
