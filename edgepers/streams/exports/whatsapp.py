"""WhatsApp's exported chats: a text file with a message a line, or several lines."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from edgepers.streams.chats import NO_WORDS, Turn
from edgepers.streams.exports.people import role_for, sets_by_day
from edgepers.streams.form import Form, JsonObject, Way
from edgepers.streams.framing import Record
from edgepers.streams.types import DialogueSet

__all__ = ["WHATSAPP", "is_whatsapp", "messages"]

_DATE = r"(?P<date>\d{1,4}[./-]\d{1,2}[./-]\d{1,4})"
_TIME = r"\d{1,2}[:.]\d{2}(?:[:.]\d{2})?(?:\s?[apAP]\.?\s?[mM]\.?)?"
_MOST_BYTES = 1 << 20  # of one message; WhatsApp itself allows 64 KiB
_LINE = re.compile(
    rf"[\u200e\u200f]*(?:\[{_DATE},?\s{_TIME}\]|{_DATE.replace('date', 'day')},?\s{_TIME}\s-)\s"
    r"(?:(?P<who>[^:\n]{1,80}):\s)?(?P<text>.*)",
    re.DOTALL,
)
_NO_TEXT = re.compile(
    r"<[^<>]*>|.*\((?:file attached|Datei angehängt|archivo adjunto|fichier joint)\)"
    r"|(?:image|video|audio|sticker|GIF|document|Contact card) omitted"
    r"|(?:Bild|Video|Audio|Sticker|GIF|Dok\w+) weggelassen"
    r"|(?:This message was deleted|You deleted this message|Diese Nachricht wurde gelöscht"
    r"|Du hast diese Nachricht gelöscht)\.?",
    re.IGNORECASE | re.DOTALL,
)


_EDITED = re.compile(r"\s*\u200e?<[^<>\n]{8,60}>\s*\Z")  # that a message was edited, in any language


def is_whatsapp(head: bytes) -> bool:
    """Whether a file begins as an exported chat does."""
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0].decode("utf-8", errors="replace")
    return _LINE.match(first) is not None


def messages(file: BinaryIO, offset: int, line: int) -> Iterator[Record]:
    """The messages of a file that stands at `offset`; a line without a date goes on with the message before it."""
    begin, number = offset, line
    lines: list[bytes] = []
    while read := file.readline(_MOST_BYTES):
        if lines and _LINE.match(read.decode("utf-8", errors="replace")):
            yield _record(begin, number, offset, line, b"".join(lines))
            begin, number, lines = offset, line, []
        if offset - begin < _MOST_BYTES:
            lines.append(read)
        offset, line = offset + len(read), line + 1
    if b"".join(lines).strip():
        yield _record(begin, number, offset, line, b"".join(lines))


def _record(begin: int, line: int, end: int, end_line: int, data: bytes) -> Record:
    def parse() -> object:
        try:
            text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"byte {error.start + 1} is not UTF-8; give --encoding NAME") from None
        found = _LINE.match(text.rstrip())
        if found is None:
            raise ValueError("no message of WhatsApp: a date, a name and a text belong there")
        day = found["date"] or found["day"]
        return {"whatsapp": day, "who": found["who"], "text": found["text"]}

    return Record(begin, line, end, end_line, parse, f":{line + 1}")


def _day(row: JsonObject) -> object:
    return row.get("whatsapp")


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    rows = [row for row in record["rows"] if row.get("who")]  # without a name: what WhatsApp itself says
    names = {str(row["who"]).strip("\u200e\u200f ") for row in rows}
    days: list[tuple[str, Turn]] = []
    for row in rows:
        text = str(row.get("text")).strip("\u200e\u200f \n")
        role = role_for(str(row["who"]).strip("\u200e\u200f "), way.me, names)
        lost = NO_WORDS if _NO_TEXT.fullmatch(text) else ""
        days.append((str(row["whatsapp"]), Turn(role, _EDITED.sub("", text), lost)))
    return sets_by_day(days, "who", None, way)


WHATSAPP = Form(
    "whatsapp",
    "WhatsApp's export: what --me answered on the same day is the reference",
    lambda r: "whatsapp" in r and "who" in r,
    _sets,
    _day,
)
