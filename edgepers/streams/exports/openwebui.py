"""Open WebUI's chats, and Qwen Chat's, which are stored alike; and what was judged there with a thumb."""

from typing import Any

from edgepers.streams.branches import branch, made_anew, named_in
from edgepers.streams.chats import ASSISTANT, Turn, sets_of
from edgepers.streams.contents import message_turn, turns_of, verdict_of
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["OPENWEBUI", "OPENWEBUI_FEEDBACK"]


def _tree(chat: JsonObject, current: object, way: Way) -> tuple[list[Turn], str] | None:
    """The turns of the branch that ends at `current`, and the field that they are from."""
    history = chat.get("history")
    if not isinstance(history, dict) or not isinstance(history.get("messages"), dict):
        return None
    if not history["messages"] and isinstance(chat.get("messages"), list):
        return None
    field = "chat.history.messages"
    nodes = branch(
        history["messages"],
        current,
        field,
        way.notes,
        parent="parentId",
        children="childrenIds",
        named="currentId",
        time=lambda node: node.get("timestamp"),
    )
    made_anew(history["messages"], nodes, way.notes, lambda node: node.get("role") == "assistant", "parentId")
    return [message_turn(_spoken(node), f"{field}[{i}]") for i, node in enumerate(nodes)], field


def _spoken(node: JsonObject) -> JsonObject:
    """A message with its answer alone, where its phases (thoughts, searches, answer) are stored apart."""
    phases = node.get("content_list")
    if not isinstance(phases, list) or not phases:
        return node
    answers = [phase for phase in phases if isinstance(phase, dict) and phase.get("phase") in ("answer", None)]
    text = "\n".join(phase["content"] for phase in answers if isinstance(phase.get("content"), str))
    done = all(phase.get("status") in ("finished", None) for phase in answers)
    return {**node, "content": text} if done and text else {**node, "content": text, "done": False}


def _chat(record: JsonObject) -> JsonObject:
    chat = record.get("chat")
    if not isinstance(chat, dict):
        raise ValueError("'chat' is missing" if chat is None else f"'chat' is {type(chat).__name__}, not an object")
    return chat


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    """The branch that `history.currentId` ends, or the flat list of messages beside it."""
    chat = _chat(record)
    history = chat.get("history")
    tree = _tree(chat, history.get("currentId") if isinstance(history, dict) else None, way)
    turns, field = tree or (turns_of(chat.get("messages"), "chat.messages"), "chat.messages")
    return sets_of(turns, field, identity_of(record), way.notes)


def _feedback(record: JsonObject, way: Way) -> list[DialogueSet]:
    """The answer that was judged, with the thumb as the owner's verdict; what came before it is context."""
    data, meta, snapshot = (_object(record.get(name)) for name in ("data", "meta", "snapshot"))
    verdict = verdict_of(data.get("rating"))
    if not verdict:
        raise ValueError("'data.rating' is no thumb up or down")
    inner = _object(snapshot.get("chat"))
    chat = inner.get("chat", inner)
    history = _object(_object(chat).get("history"))
    messages = _object(history.get("messages"))
    judged = named_in(messages, meta.get("message_id")) or history.get("currentId")
    tree = _tree({"history": history}, judged, way)
    if tree is None:
        raise ValueError("'snapshot.chat' holds no messages")
    turns, field = tree
    while turns and turns[-1].role != ASSISTANT:
        turns.pop()
    if turns:
        turns[-1] = turns[-1]._replace(verdict=verdict)
    way.notes.left_out("a comment on a thumb", int(bool(data.get("comment"))))
    return sets_of(turns, field, identity_of(record), way.notes, last_alone=True)


def _object(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}


OPENWEBUI = Form(
    "openwebui",
    "Open WebUI's or Qwen Chat's export: each answer of the current branch is one set",
    lambda r: isinstance(r.get("chat"), dict),
    _sets,
)
OPENWEBUI_FEEDBACK = Form(
    "openwebui-feedback",
    "Open WebUI's feedback: each judged answer is one set with its verdict",
    lambda r: "snapshot" in r and "data" in r,
    _feedback,
)
