"""Empathetic-Dialogues: a row an utterance; who began is the user, and what the other answers is the reference."""

from edgepers.streams.chats import ASSISTANT, USER, Turn, sets_of
from edgepers.streams.datasets.columns import text_in
from edgepers.streams.form import Form, JsonObject, Way, has
from edgepers.streams.types import DialogueSet

__all__ = ["EMPATHETIC"]


def _conversation(row: JsonObject) -> object:
    key = text_in(row, "conv_id")
    _utterance(row)
    return key


def _utterance(row: JsonObject) -> str:
    if row.get("speaker_idx") is None:
        raise ValueError("'speaker_idx' is missing")
    return text_in(row, "utterance").replace("_comma_", ",").strip()


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    rows = record["rows"]
    began = rows[0]["speaker_idx"]
    turns = [Turn(USER if row["speaker_idx"] == began else ASSISTANT, _utterance(row)) for row in rows]
    if all(turn.role == USER for turn in turns):
        way.notes.left_out("a conversation that nobody answered")
        return []
    return sets_of(turns, "utterance", rows[0]["conv_id"], way.notes, known="reference")


EMPATHETIC = Form(
    "empathetic",
    "Empathetic-Dialogues, a row an utterance: the listener's are the references",
    has("conv_id", "utterance"),
    _sets,
    _conversation,
)
