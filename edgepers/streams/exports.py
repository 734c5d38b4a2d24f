"""Chat programs' exports: trees of messages, of which the branch that the owner last saw counts."""

from typing import Any

from edgepers.streams.chats import ASIDE, Turn, plain_text, role_of, sets_of
from edgepers.streams.types import DialogueSet

__all__ = ["chat_turns", "chatgpt_sets", "openwebui_sets"]


def chat_turns(value: object, field: str) -> list[Turn]:
    """Turns of a list of messages: `role` and `content`, or `from` and `value`.

    Raises:
        ValueError: names the field.
    """
    if not isinstance(value, list):
        raise ValueError(
            f"'{field}' is missing" if value is None else f"'{field}' is {type(value).__name__}, not a list"
        )
    turns = []
    for i, message in enumerate(value):
        where = f"{field}[{i}]"
        if not isinstance(message, dict):
            raise ValueError(f"'{where}' is {type(message).__name__}, not an object")
        who, what = ("from", "value") if "from" in message and "role" not in message else ("role", "content")
        role = role_of(message.get(who), f"{where}.{who}")
        turns.append(Turn(role, plain_text(message.get(what), f"{where}.{what}") if role else ""))
    return turns


def openwebui_sets(record: dict[str, Any]) -> list[DialogueSet]:
    """Open WebUI's export: the branch that `history.currentId` ends, or the flat list of messages beside it."""
    chat = record.get("chat")
    if not isinstance(chat, dict):
        raise ValueError("'chat' is missing" if chat is None else f"'chat' is {type(chat).__name__}, not an object")
    history = chat.get("history")
    if isinstance(history, dict) and isinstance(history.get("messages"), dict) and history.get("currentId") is not None:
        field = "chat.history.messages"
        nodes = _branch(history["messages"], history["currentId"], "parentId", field)
        return sets_of(chat_turns(nodes, field), field, record.get("id"))
    return sets_of(chat_turns(chat.get("messages"), "chat.messages"), "chat.messages", record.get("id"))


def chatgpt_sets(record: dict[str, Any]) -> list[DialogueSet]:
    """ChatGPT's export: the branch of `mapping` that `current_node` ends."""
    mapping = record.get("mapping")
    if not isinstance(mapping, dict):
        raise ValueError(
            "'mapping' is missing" if mapping is None else f"'mapping' is {type(mapping).__name__}, not an object"
        )
    last = record.get("current_node")
    if last is None:
        raise ValueError("'current_node' is missing")
    turns = [_chatgpt_turn(node.get("message")) for node in _branch(mapping, last, "parent", "mapping")]
    return sets_of(turns, "mapping", record.get("conversation_id") or record.get("id"))


def _chatgpt_turn(message: object) -> Turn:
    """A message's turn; hidden ones, calls of tools and other than text are aside."""
    if not isinstance(message, dict):
        return Turn(ASIDE, "")  # the root, and placeholders
    author, content, metadata = (message.get(name) for name in ("author", "content", "metadata"))
    if not isinstance(author, dict):
        raise ValueError("'mapping.*.message.author' is missing")
    role = role_of(author.get("role"), "mapping.*.message.author.role")
    hidden = isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation") is True
    if hidden or not isinstance(content, dict) or message.get("recipient") not in (None, "all"):
        return Turn(ASIDE, "")
    if content.get("content_type", "text") not in ("text", "multimodal_text"):
        return Turn(ASIDE, "")
    return Turn(role, plain_text(content.get("parts"), "mapping.*.message.content.parts"))


def _branch(nodes: dict[str, Any], last: object, parent: str, field: str) -> list[dict[str, Any]]:
    """The nodes from the root to `last`."""
    branch: list[dict[str, Any]] = []
    seen: set[str] = set()
    at = last
    while at is not None:
        if not isinstance(at, str) or at not in nodes:
            raise ValueError(f"'{field}' has no message {str(at)[:40]!r}")
        if at in seen:
            raise ValueError(f"'{field}' runs in a circle at {at[:40]!r}")
        seen.add(at)
        node = nodes[at]
        if not isinstance(node, dict):
            raise ValueError(f"'{field}.{at[:40]}' is {type(node).__name__}, not an object")
        branch.append(node)
        at = node.get(parent)
    return branch[::-1]
