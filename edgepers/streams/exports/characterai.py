"""Character.AI's histories: messages that say whether a person wrote them, or turns with candidates."""

from edgepers.streams.branches import ANEW
from edgepers.streams.chats import ASSISTANT, USER, Turn, sets_of
from edgepers.streams.contents import said
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["CHARACTERAI"]


def _matches(record: JsonObject) -> bool:
    for name, author in (("msgs", "src"), ("turns", "author")):
        rows = record.get(name)
        if isinstance(rows, list) and rows and isinstance(rows[0], dict) and isinstance(rows[0].get(author), dict):
            return True
    return False


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    field, author = ("msgs", "src") if "msgs" in record else ("turns", "author")
    rows = record.get(field)
    if not isinstance(rows, list):
        raise ValueError(f"'{field}' is missing or no list")
    turns: list[Turn] = []
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(row.get(author), dict):
            raise ValueError(f"'{field}[{i}].{author}' is missing")
        role = USER if row[author].get("is_human") is True else ASSISTANT
        turns.append(Turn(role, *said(_text(row, role, way), f"{field}[{i}]")))
    return sets_of(turns, field, identity_of(record, "external_id", "chat_id"), way.notes)


def _text(row: JsonObject, role: str, way: Way) -> object:
    candidates = row.get("candidates")
    if not isinstance(candidates, list) or not candidates:
        return row.get("text")
    chosen = [one for one in candidates if isinstance(one, dict)]
    primary = row.get("primary_candidate_id")
    taken = next((one for one in chosen if one.get("candidate_id") == primary), chosen[0] if chosen else {})
    if role == ASSISTANT:
        way.notes.left_out(ANEW, len(candidates) - 1)
    return taken.get("raw_content", taken.get("text"))


CHARACTERAI = Form("characterai", "Character.AI's history: each answer is one set", _matches, _sets)
