"""Gemini's own forms: `contents` of its interface, AI Studio's prompts, and the activity that Takeout gives."""

import html
import re

from edgepers.streams.chats import sets_of
from edgepers.streams.contents import message_turn, turns_of
from edgepers.streams.form import Form, JsonObject, Way, has, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["AISTUDIO", "GEMINI", "TAKEOUT"]


def _contents(record: JsonObject, way: Way) -> list[DialogueSet]:
    return sets_of(turns_of(record.get("contents"), "contents"), "contents", identity_of(record), way.notes)


def _chunks(record: JsonObject, way: Way) -> list[DialogueSet]:
    prompt = record.get("chunkedPrompt")
    chunks = prompt.get("chunks") if isinstance(prompt, dict) else None
    field = "chunkedPrompt.chunks"
    if not isinstance(chunks, list) or not all(isinstance(chunk, dict) for chunk in chunks):
        raise ValueError(f"'{field}' is not a list of objects")
    spoken = [chunk for chunk in chunks if not (chunk.get("isThought") or chunk.get("thought"))]
    turns = [message_turn(_attached(chunk), f"{field}[{i}]") for i, chunk in enumerate(spoken)]
    return sets_of(turns, field, identity_of(record), way.notes)


def _attached(chunk: JsonObject) -> JsonObject:
    """A chunk that is a file of Drive, or a picture, is a turn without words."""
    words = chunk.get("text") or chunk.get("parts")
    return chunk if words else {**chunk, "text": "", "files": [name for name in chunk if name not in ("role", "text")]}


# What Takeout writes before a prompt, by language.
_PROMPTED = re.compile(
    r"(?:prompted|eingegebener prompt:?|prompt:|requête\s*:?|vous avez demandé\s*:?|petición:?|has preguntado:?"
    r"|hai chiesto:?|prompt inviato:?|pergunta:?|prompt enviado:?|prompt ingevoerd:?)\s+",
    re.IGNORECASE,
)
_NEW_LINE = re.compile(r"<br\s*/?>|</(?:p|div|li|h\d|tr|pre|ul|ol|blockquote)>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")


def _activity(record: JsonObject, way: Way) -> list[DialogueSet]:
    title, items = record.get("title"), record.get("safeHtmlItem")
    if not isinstance(title, str) or not isinstance(items, list):
        raise ValueError("an activity without a prompt and an answer")
    found = _PROMPTED.match(title)
    if found is None:
        raise ValueError("an activity that is no prompt")
    pages = [item["html"] for item in items if isinstance(item, dict) and isinstance(item.get("html"), str)]
    turns = [{"role": "user", "text": title[found.end() :]}, {"role": "model", "text": _text_of("\n".join(pages))}]
    return sets_of(turns_of(turns, "safeHtmlItem"), "safeHtmlItem", identity_of(record, "time"), way.notes)


def _text_of(page: str) -> str:
    """The words of a piece of HTML, a line for each of its blocks."""
    lines = html.unescape(_TAG.sub("", _NEW_LINE.sub("\n", page))).splitlines()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.strip() for line in lines)).strip()


GEMINI = Form("gemini", "Gemini's contents: each turn of the model is one set", has("contents"), _contents)
AISTUDIO = Form("aistudio", "AI Studio's prompt: each turn of the model is one set", has("chunkedPrompt"), _chunks)
TAKEOUT = Form(
    "takeout",
    "Gemini's activity in Takeout: each prompt with its answer is one set",
    lambda r: "title" in r and "products" in r and ("safeHtmlItem" in r or "header" in r),
    _activity,
)
