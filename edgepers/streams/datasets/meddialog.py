"""MedDialog: `utterances` as "patient: ..." lines, or `dialogue_turns` of speakers; the doctor's are the references."""

from typing import Any

from edgepers.streams.chats import ASSISTANT, USER, Turn, role_of, sets_of
from edgepers.streams.datasets.columns import text_in
from edgepers.streams.form import Form, JsonObject, Way, has_any, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["MEDDIALOG"]


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    spoken = record.get("utterances")
    if spoken is None and "dialogue_turns" in record:
        field, turns = "dialogue_turns", _speakers(record["dialogue_turns"])
    else:
        field, turns = "utterances", _utterances(spoken)
    description = text_in(record, "description", required=False)
    if description and turns and turns[0].role == ASSISTANT:
        turns.insert(0, Turn(USER, description))  # the patient's words are missing; what they came for stands in
    return sets_of(turns, field, identity_of(record, "dialogue_id"), way.notes, known="reference")


def _utterances(spoken: object) -> list[Turn]:
    if not isinstance(spoken, list):
        raise ValueError(
            "'utterances' is missing" if spoken is None else f"'utterances' is {type(spoken).__name__}, not a list"
        )
    turns = []
    for i, line in enumerate(spoken):
        if not isinstance(line, str):
            raise ValueError(f"'utterances[{i}]' is {type(line).__name__}, not text")
        who, colon, text = line.replace("：", ":", 1).partition(":")
        if not colon:
            raise ValueError(f"'utterances[{i}]' does not begin with 'patient:' or 'doctor:'")
        turns.append(Turn(role_of(who, f"utterances[{i}]"), text.strip()))
    return turns


def _speakers(spoken: object) -> list[Turn]:
    field = "dialogue_turns"
    if isinstance(spoken, dict) and all(isinstance(spoken.get(name), list) for name in ("speaker", "utterance")):
        rows: list[Any] = [
            {"speaker": s, "utterance": u} for s, u in zip(spoken["speaker"], spoken["utterance"], strict=False)
        ]
    elif isinstance(spoken, list):
        rows = spoken
    else:
        raise ValueError(f"'{field}' is {type(spoken).__name__}, not a list")
    turns = []
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"'{field}[{i}]' is {type(row).__name__}, not an object")
        speaker, text = row.get("speaker"), row.get("utterance")
        if speaker in (0, 1) and not isinstance(speaker, bool):
            speaker = ("patient", "doctor")[speaker]  # class numbers
        if not isinstance(text, str):
            raise ValueError(f"'{field}[{i}].utterance' is {'missing' if text is None else type(text).__name__}")
        turns.append(Turn(role_of(speaker, f"{field}[{i}].speaker"), text.strip()))
    return turns


MEDDIALOG = Form(
    "meddialog",
    "MedDialog's utterances: the doctor's are the references",
    has_any("utterances", "dialogue_turns"),
    _sets,
)
