"""Chatbox's sessions, alone or in a backup: messages in parts, and threads that were begun anew."""

from edgepers.streams.chats import sets_of
from edgepers.streams.contents import turns_of
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["CHATBOX"]


def _matches(record: JsonObject) -> bool:
    messages = record.get("messages")
    return isinstance(messages, list) and any(isinstance(one, dict) and "contentParts" in one for one in messages)


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    threads = record.get("threads")
    talks = [one for one in threads if isinstance(one, dict)] if isinstance(threads, list) else []
    sets: list[DialogueSet] = []
    why = ""
    for talk in [*talks, record]:
        try:
            sets += sets_of(turns_of(talk.get("messages"), "messages"), "messages", identity_of(talk), way.notes)
        except ValueError as error:
            why = why or str(error)
    if not sets:
        raise ValueError(why)
    return sets


CHATBOX = Form("chatbox", "Chatbox's session: each answer is one set", _matches, _sets)
