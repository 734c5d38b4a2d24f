"""HuggingChat's conversations: a tree whose messages name their ancestors and children."""

from edgepers.streams.branches import branch, made_anew, unbranched
from edgepers.streams.chats import Turn, sets_of
from edgepers.streams.contents import message_turn, verdict_of
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["HUGGINGCHAT"]

_PARENT = "parent"


def _matches(record: JsonObject) -> bool:
    messages = record.get("messages")
    return isinstance(messages, list) and any(
        isinstance(one, dict) and "from" in one and ("ancestors" in one or "rootMessageId" in record)
        for one in messages
    )


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    messages = record.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError("'messages' is not a list of objects")
    if not any("ancestors" in message for message in messages):
        found = messages
    else:
        nodes = {str(message.get("id")): {**message, _PARENT: _above(message)} for message in messages}
        parents = [node[_PARENT] for node in nodes.values()]
        last = next(reversed(nodes)) if unbranched(parents) else None
        found = branch(
            nodes, last, "messages", way.notes, named="current message", time=lambda node: node.get("createdAt")
        )
        made_anew(nodes, found, way.notes, lambda node: node.get("from") == "assistant")
    turns = [_turn(message, f"messages[{i}]") for i, message in enumerate(found)]
    return sets_of(turns, "messages", identity_of(record), way.notes)


def _above(message: JsonObject) -> object:
    ancestors = message.get("ancestors")
    return ancestors[-1] if isinstance(ancestors, list) and ancestors else None


def _turn(message: JsonObject, where: str) -> Turn:
    return message_turn(message, where)._replace(verdict=verdict_of(message.get("score")))


HUGGINGCHAT = Form("huggingchat", "HuggingChat's conversation: each answer of the newest branch", _matches, _sets)
