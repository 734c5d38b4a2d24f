"""ChatGPT's conversations.json: trees of messages, of which the branch that its owner last saw counts."""

from typing import Any

from edgepers.streams.answers import UNFINISHED
from edgepers.streams.branches import branch, made_anew
from edgepers.streams.chats import ASIDE, ASSISTANT, TOOL, Turn, role_of, sets_of
from edgepers.streams.contents import message_turn, said
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["CHATGPT"]

_WORDS = ("text", "multimodal_text")
_TOOL_CONTENTS = {"code", "execution_output", "tether_quote", "tether_browsing_display", "sonic_webpage"}
_CUT = {"interrupted", "max_tokens", "length", "client_disconnect"}


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    mapping = record.get("mapping")
    if not isinstance(mapping, dict):
        raise ValueError(
            "'mapping' is missing" if mapping is None else f"'mapping' is {type(mapping).__name__}, not an object"
        )
    nodes = branch(mapping, record.get("current_node"), "mapping", way.notes, time=_time)
    turns = [_turn(node.get("message")) for node in nodes]
    sets = sets_of(turns, "mapping", identity_of(record, "conversation_id"), way.notes)
    made_anew(mapping, nodes, way.notes, lambda node: _role(node.get("message")) == ASSISTANT)
    return sets


def _time(node: JsonObject) -> object:
    message = node.get("message")
    return message.get("create_time") if isinstance(message, dict) else 0.0


def _role(message: object) -> str:
    author = message.get("author") if isinstance(message, dict) else None
    return str(author.get("role")) if isinstance(author, dict) else ""


def _turn(message: object) -> Turn:
    """A message's turn; hidden ones are aside, and what is said to tools, or beside the answer, is the tools'."""
    if not isinstance(message, dict):
        return Turn(ASIDE, "")  # the root, and placeholders
    if not isinstance(message.get("author"), dict):
        raise ValueError("'mapping.*.message.author' is missing")
    role = role_of(message["author"].get("role"), "mapping.*.message.author.role")
    content, metadata = message.get("content"), message.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    if metadata.get("is_visually_hidden_from_conversation") is True or not isinstance(content, dict):
        return Turn(ASIDE, "")
    if role in (ASIDE, TOOL):
        return Turn(role, "")
    kind = str(content.get("content_type", "text"))
    if kind not in _WORDS:
        return Turn(TOOL if kind in _TOOL_CONTENTS and role == ASSISTANT else ASIDE, "")
    aside = message.get("recipient") not in (None, "all") or message.get("channel") in ("analysis", "commentary")
    if role == ASSISTANT and aside:
        return Turn(TOOL, "")
    where = "mapping.*.message.content.parts"
    text, lost = said(content.get("parts"), where)
    return message_turn({**message, "content": text, "error": None}, where, role)._replace(
        **_why(lost, role, metadata, message)
    )


def _why(lost: str, role: str, metadata: JsonObject, message: JsonObject) -> dict[str, Any]:
    """What replaces a turn's `lost`, where more is known than the message says."""
    finish = metadata.get("finish_details")
    cut = isinstance(finish, dict) and str(finish.get("type")) in _CUT
    if role == ASSISTANT and cut:
        return {"lost": UNFINISHED}
    return {"lost": lost} if lost else {}


CHATGPT = Form(
    "chatgpt", "ChatGPT's export: each answer of the current branch is one set", lambda r: "mapping" in r, _sets
)
