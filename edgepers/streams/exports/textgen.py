"""The chat histories of text-generation-webui: pairs, as the model was given them and as they were shown."""

import html

from edgepers.streams.chats import ASSISTANT, USER, Turn, sets_of
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["TEXTGEN"]

_GREETING = "<|BEGIN-VISIBLE-CHAT|>"  # stands for a question where the character greets


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    turns: list[Turn] = []
    pairs = record.get("internal")
    for i, pair in enumerate(pairs if isinstance(pairs, list) else []):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise ValueError(f"'internal[{i}]' is not a question and an answer")
        if pair[0] != _GREETING:
            turns.append(Turn(USER, html.unescape(pair[0])))
        turns.append(Turn(ASSISTANT, html.unescape(pair[1])))
    return sets_of(turns, "internal", identity_of(record), way.notes)


TEXTGEN = Form(
    "textgen",
    "text-generation-webui's history: each answer is one set",
    lambda r: isinstance(r.get("internal"), list) and "visible" in r,
    _sets,
)
