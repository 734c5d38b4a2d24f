"""SillyTavern's chats: a line a message, after a line about the chat."""

from edgepers.streams.branches import ANEW
from edgepers.streams.chats import ASIDE, ASSISTANT, USER, Turn, sets_of
from edgepers.streams.form import Form, JsonObject, Way
from edgepers.streams.types import DialogueSet

__all__ = ["SILLYTAVERN"]


def _matches(record: JsonObject) -> bool:
    return ("mes" in record and "is_user" in record) or "chat_metadata" in record


def _chat(row: JsonObject) -> object:
    if "chat_metadata" not in row and not isinstance(row.get("mes"), str):
        raise ValueError("'mes' is missing or no text")
    return "chat"


def _begins(row: JsonObject) -> bool:
    return "chat_metadata" in row or row.get("is_user") is True


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    turns: list[Turn] = []
    for row in record["rows"]:
        if "mes" not in row:
            continue
        role = ASIDE if row.get("is_system") is True else USER if row.get("is_user") is True else ASSISTANT
        swipes = row.get("swipes")
        if role == ASSISTANT and isinstance(swipes, list):
            way.notes.left_out(ANEW, len(swipes) - 1)
        turns.append(Turn(role, row["mes"]))
    return sets_of(turns, "mes", record["rows"][0].get("create_date"), way.notes)


SILLYTAVERN = Form(
    "sillytavern", "SillyTavern's chat, a line a message: each answer is one set", _matches, _sets, _chat, _begins
)
