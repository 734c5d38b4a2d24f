"""Grok's prod-grok-backend.json: conversations with their responses beside them."""

from edgepers.streams.branches import branch, made_anew, named_in, unbranched
from edgepers.streams.chats import sets_of
from edgepers.streams.contents import message_turn
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["GROK"]


def _matches(record: JsonObject) -> bool:
    return isinstance(record.get("conversation"), dict) and isinstance(record.get("responses"), list)


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    responses = record.get("responses")
    if not isinstance(responses, list) or not all(isinstance(one, dict) for one in responses):
        raise ValueError("'responses' is not a list of objects")
    messages = [one["response"] if isinstance(one.get("response"), dict) else one for one in responses]
    conversation = record.get("conversation")
    turns = [message_turn(message, f"responses[{i}]") for i, message in enumerate(_seen(messages, way))]
    named = identity_of(conversation) if isinstance(conversation, dict) else None
    return sets_of(turns, "responses", named, way.notes)


def _seen(messages: list[JsonObject], way: Way) -> list[JsonObject]:
    """The newest branch, where an answer was made anew or a question edited."""
    parents = [message.get("parent_response_id") for message in messages if message.get("parent_response_id")]
    if unbranched(parents):
        return messages
    nodes = {str(message.get("_id")): dict(message) for message in messages}
    for node in nodes.values():
        node["parent_response_id"] = named_in(nodes, node.get("parent_response_id"))
    found = branch(
        nodes, None, "responses", way.notes, parent="parent_response_id", named="current response", time=_time
    )
    made_anew(nodes, found, way.notes, lambda node: node.get("sender") != "human", "parent_response_id")
    return found


def _time(message: JsonObject) -> object:
    """Milliseconds, of which MongoDB makes `{"$date": {"$numberLong": "..."}}`; or a text that sorts by time."""
    when = message.get("create_time")
    while isinstance(when, dict):
        when = when.get("$date", when.get("$numberLong"))
    return int(when) if isinstance(when, str) and when.isdigit() and len(when) < 20 else when


GROK = Form("grok", "Grok's export: each answer is one set", _matches, _sets)
