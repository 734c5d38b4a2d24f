"""LM Studio's *.conversation.json: each message in versions, an answer in steps."""

from edgepers.streams.branches import ANEW
from edgepers.streams.chats import ASSISTANT, TOOL, Turn, sets_of
from edgepers.streams.contents import message_turn
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["LMSTUDIO"]


def _matches(record: JsonObject) -> bool:
    messages = record.get("messages")
    first = messages[0] if isinstance(messages, list) and messages else None
    return isinstance(first, dict) and "versions" in first


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    messages = record.get("messages")
    turns: list[Turn] = []
    for i, message in enumerate(messages if isinstance(messages, list) else []):
        where = f"messages[{i}]"
        versions = message.get("versions") if isinstance(message, dict) else None
        chosen = message.get("currentlySelected", 0) if isinstance(message, dict) else 0
        if not isinstance(versions, list) or not isinstance(chosen, int) or not 0 <= chosen < len(versions):
            raise ValueError(f"'{where}.versions' has no version {chosen!r}")
        version = versions[chosen]
        if not isinstance(version, dict):
            raise ValueError(f"'{where}.versions' is not a list of objects")
        found = _turns(version, f"{where}.versions[{chosen}]")
        if any(turn.role == ASSISTANT for turn in found):
            way.notes.left_out(ANEW, len(versions) - 1)
        turns += found
    return sets_of(turns, "messages", identity_of(record), way.notes)


def _turns(version: JsonObject, where: str) -> list[Turn]:
    steps = version.get("steps")
    if not isinstance(steps, list):
        return [message_turn(version, where)]
    turns: list[Turn] = []
    for step in steps:
        if not isinstance(step, dict) or step.get("type") != "contentBlock":
            if isinstance(step, dict) and "tool" in str(step.get("type")).lower():
                turns.append(Turn(TOOL, ""))
            continue
        style = step.get("style")
        if isinstance(style, dict) and style.get("type") == "thinking":
            continue
        turns.append(message_turn({**step, "role": step.get("role", version.get("role")), "type": None}, where))
    return [_joined(turns, where)] if all(turn.role == ASSISTANT for turn in turns) else turns


def _joined(turns: list[Turn], where: str) -> Turn:
    """The blocks of one answer, which follow each other without a gap."""
    last = turns[-1] if turns else Turn(ASSISTANT, "")
    return Turn(ASSISTANT, "".join(turn.text for turn in turns), last.lost, last.verdict)


LMSTUDIO = Form("lmstudio", "LM Studio's conversation: each answer that is selected is one set", _matches, _sets)
