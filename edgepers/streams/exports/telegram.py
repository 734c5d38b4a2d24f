"""Telegram's result.json: chats between people, read only where the owner says who he or she is."""

from edgepers.streams.chats import NO_WORDS, Turn
from edgepers.streams.exports.people import role_for, sets_by_day
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["TELEGRAM"]


def _matches(record: JsonObject) -> bool:
    messages = record.get("messages")
    return isinstance(messages, list) and any(isinstance(one, dict) and "from_id" in one for one in messages)


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    messages = [one for one in record.get("messages", ()) if isinstance(one, dict) and one.get("type") == "message"]
    names = {str(one.get("from")) for one in messages if one.get("from")}
    days: list[tuple[str, Turn]] = []
    for one in messages:
        text = _text(one.get("text"))
        lost = "" if text.strip() else NO_WORDS
        role = role_for(str(one.get("from")), way.me, names)
        if one.get("forwarded_from") or one.get("via_bot"):
            lost = "a message that somebody else wrote"
        days.append((str(one.get("date"))[:10], Turn(role, text, lost)))
    return sets_by_day(days, "messages", identity_of(record), way)


def _text(value: object) -> str:
    parts = value if isinstance(value, list) else [value]
    texts = (part if isinstance(part, str) else part.get("text") for part in parts if isinstance(part, (str, dict)))
    return "".join(text for text in texts if isinstance(text, str))


TELEGRAM = Form("telegram", "Telegram's export: what --me answered on the same day is the reference", _matches, _sets)
