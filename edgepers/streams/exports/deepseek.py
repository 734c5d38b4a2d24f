"""DeepSeek's conversations.json: a tree as ChatGPT's, with messages in fragments."""

from edgepers.streams.branches import branch, made_anew
from edgepers.streams.chats import ASIDE, ASSISTANT, NO_WORDS, TOOL, USER, Turn, sets_of
from edgepers.streams.contents import unusable
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["DEEPSEEK"]

_ROLES = {"REQUEST": USER, "RESPONSE": ASSISTANT}
_THOUGHTS = ("THINK", "THINKING")


def _matches(record: JsonObject) -> bool:
    mapping = record.get("mapping")
    if not isinstance(mapping, dict) or "current_node" in record:
        return False
    return any(isinstance(_message(node), dict) and "fragments" in node["message"] for node in mapping.values())


def _message(node: object) -> object:
    return node.get("message") if isinstance(node, dict) else None


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    mapping = record.get("mapping")
    if not isinstance(mapping, dict):
        raise ValueError("'mapping' is missing or no object")
    leaves = sum(not node.get("children") for node in mapping.values() if isinstance(node, dict))
    only = next((name for name, node in mapping.items() if isinstance(node, dict) and not node.get("children")), None)
    nodes = branch(mapping, only if leaves == 1 else None, "mapping", way.notes, time=_time)
    turns = [turn for node in nodes for turn in _turns(node)]
    sets = sets_of(turns, "mapping", identity_of(record), way.notes)
    made_anew(mapping, nodes, way.notes, lambda node: any(turn.role == ASSISTANT for turn in _turns(node)))
    return sets


def _time(node: JsonObject) -> object:
    message = _message(node)
    return message.get("inserted_at") if isinstance(message, dict) else ""


def _turns(node: JsonObject) -> list[Turn]:
    message = _message(node)
    fragments = message.get("fragments") if isinstance(message, dict) else None
    turns: list[Turn] = []
    for fragment in fragments if isinstance(fragments, list) else ():
        if not isinstance(fragment, dict) or str(fragment.get("type")) in _THOUGHTS:
            continue
        role = _ROLES.get(str(fragment.get("type")), TOOL)
        text = fragment.get("content")
        lost = unusable(message) if role == ASSISTANT and isinstance(message, dict) else ""
        turns.append(Turn(role, text if isinstance(text, str) else "", lost))
    if not turns and isinstance(message, dict) and message.get("files"):
        return [Turn(USER, "", NO_WORDS)]
    return turns or [Turn(ASIDE, "")]


DEEPSEEK = Form("deepseek", "DeepSeek's export: each answer of the newest branch is one set", _matches, _sets)
