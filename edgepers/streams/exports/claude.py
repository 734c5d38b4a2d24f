"""Claude's conversations.json: messages in parts, of which the text counts."""

from edgepers.streams.branches import branch, named_in, unbranched
from edgepers.streams.chats import sets_of
from edgepers.streams.contents import message_turn
from edgepers.streams.form import Form, JsonObject, Way, has, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["CLAUDE"]

_PARENT = "parent_message_uuid"


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    messages = record.get("chat_messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError("'chat_messages' is not a list of objects")
    turns = [message_turn(message, f"chat_messages[{i}]") for i, message in enumerate(_seen(record, messages, way))]
    return sets_of(turns, "chat_messages", identity_of(record), way.notes)


def _seen(record: JsonObject, messages: list[JsonObject], way: Way) -> list[JsonObject]:
    """The messages of the branch that was last seen, where messages say which they answer."""
    nodes = {str(message.get("uuid")): message for message in messages}
    parents = [message.get(_PARENT) for message in messages]
    if not any(named_in(nodes, parent) for parent in parents):
        return messages
    rooted = {name: {**node, _PARENT: named_in(nodes, node.get(_PARENT))} for name, node in nodes.items()}
    current = record.get("current_leaf_message_uuid")
    if current is None and unbranched(parents):
        current = str(messages[-1].get("uuid"))
    return branch(
        rooted,
        named_in(rooted, current),
        "chat_messages",
        way.notes,
        parent=_PARENT,
        named="current_leaf_message_uuid",
        time=lambda node: node.get("created_at"),
    )


CLAUDE = Form("claude", "Claude's export: each answer is one set", has("chat_messages"), _sets)
