"""Copilot's activity history: a table with a message a row."""

from edgepers.streams.chats import sets_of
from edgepers.streams.contents import message_turn
from edgepers.streams.form import Form, JsonObject, Way
from edgepers.streams.types import DialogueSet

__all__ = ["COPILOT"]


def _conversation(row: JsonObject) -> object:
    message_turn(row, "row")
    return row.get("conversation")


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    rows = record["rows"]
    times = [row.get("time") for row in rows]
    if all(isinstance(time, str) and time[:4].isdigit() for time in times):  # the newest may stand first
        rows = sorted(rows, key=lambda row: row["time"])
    turns = [message_turn(row, "row") for row in rows]
    return sets_of(turns, "Message", rows[0].get("conversation") or None, way.notes)


COPILOT = Form(
    "copilot",
    "Copilot's activity, a row a message: each answer is one set",
    lambda r: all(name in r for name in ("conversation", "author", "message")) and "time" in r,
    _sets,
    _conversation,
)
