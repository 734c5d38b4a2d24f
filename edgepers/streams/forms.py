"""The forms that records come in: how each is told apart, and the dialogue sets that a record of it holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from edgepers.streams.chats import ASSISTANT, USER, Turn, plain_text, role_of, sets_of, with_context
from edgepers.streams.exports import chat_turns, chatgpt_sets, openwebui_sets
from edgepers.streams.types import DialogueSet

__all__ = ["FORMS", "Form", "detect", "parse_dialogue_set"]

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """One form of records, with what it is known by and how it is read.

    Attributes:
        says: the fields it is known by and what they become, for people.
        matches: whether a record has its fields, whatever they hold.
        sets: a record's dialogue sets, given the earlier records of its group; raises ValueError naming the field.
        key: where consecutive records make one conversation, what they have in common.
    """

    name: str
    says: str
    matches: Callable[[JsonObject], bool]
    sets: Callable[[JsonObject, Sequence[JsonObject]], list[DialogueSet]]
    key: Callable[[JsonObject], object] | None = None


def _text(record: JsonObject, field: str, *, required: bool = True) -> str:
    """A text field; "" where it may be missing and is missing or blank."""
    value = record.get(field)
    if value is None or (not required and isinstance(value, str) and not value.strip()):
        if required:
            raise ValueError(f"'{field}' is missing")
        return ""
    if not isinstance(value, str):
        raise ValueError(f"'{field}' is {type(value).__name__}, not text")
    if not value.strip():
        raise ValueError(f"'{field}' is empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"'{field}' holds half a surrogate pair") from None
    return value


def _id(record: JsonObject, *fields: str) -> str | None:
    parts = [record.get(field) for field in fields]
    return None if any(part is None or isinstance(part, (dict, list)) for part in parts) else "-".join(map(str, parts))


def parse_dialogue_set(record: object) -> DialogueSet:
    """A dialogue set from one decoded record of edgepers' own form.

    Raises:
        ValueError: with the field and what is wrong with it.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a {type(record).__name__} where an object with 'question' belongs")
    question = _text(record, "question")
    response = None if record.get("response") is None else _text(record, "response")
    reference = _text(record, "reference", required=False) or None  # data sets leave it blank where they have none
    identity = record.get("id")
    return DialogueSet(question, response, reference, None if identity is None else str(identity))


def _single(
    question: str, reference: str, more: str = ""
) -> Callable[[JsonObject, Sequence[JsonObject]], list[DialogueSet]]:
    """Sets of a data set's columns: the question with what it is about, and the wanted answer."""

    def sets(record: JsonObject, _: Sequence[JsonObject]) -> list[DialogueSet]:
        about = _text(record, more, required=False) if more else ""
        asked = _text(record, question) + (f"\n\n{about}" if about else "")
        return [DialogueSet(asked, None, _text(record, reference), _id(record, "id"))]

    return sets


def _messages(*fields: str) -> Callable[[JsonObject, Sequence[JsonObject]], list[DialogueSet]]:
    def sets(record: JsonObject, _: Sequence[JsonObject]) -> list[DialogueSet]:
        field = next((name for name in fields if name in record), fields[0])
        return sets_of(chat_turns(record.get(field), field), field, _id(record, "id"))

    return sets


def _prosocial(record: JsonObject, _: Sequence[JsonObject]) -> list[DialogueSet]:
    return [
        DialogueSet(
            _text(record, "context"), None, _text(record, "response"), _id(record, "dialogue_id", "response_id")
        )
    ]


def _meddialog(record: JsonObject, _: Sequence[JsonObject]) -> list[DialogueSet]:
    """Read `utterances` as "patient: ..." lines, or `dialogue_turns` as speakers with utterances.

    The doctor's turns are references.
    """
    spoken = record.get("utterances")
    if spoken is None and "dialogue_turns" in record:
        field, turns = "dialogue_turns", _speakers(record["dialogue_turns"])
    else:
        field, turns = "utterances", _utterances(spoken)
    description = _text(record, "description", required=False)
    if description and turns and turns[0].role == ASSISTANT:
        turns.insert(0, Turn(USER, description))  # the patient's words are missing; what they came for stands in
    identity = _id(record, "dialogue_id") or _id(record, "id")
    return sets_of(turns, field, identity, known="reference")


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
        turns.append(Turn(role_of(who, f"utterances[{i}]"), plain_text(text, f"utterances[{i}]")))
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
        speaker = row.get("speaker")
        who = (
            ("patient", "doctor")[speaker] if speaker in (0, 1) and not isinstance(speaker, bool) else speaker
        )  # class numbers
        turns.append(
            Turn(role_of(who, f"{field}[{i}].speaker"), plain_text(row.get("utterance"), f"{field}[{i}].utterance"))
        )
    return turns


def _empathetic(record: JsonObject, earlier: Sequence[JsonObject]) -> list[DialogueSet]:
    """A row is one utterance: the one who began is the user, and the other's answer to them is the reference."""
    began = (earlier[0] if earlier else record).get("speaker_idx")
    turns: list[Turn] = []
    for row in (*earlier, record):
        turn = Turn(USER if row.get("speaker_idx") == began else ASSISTANT, _utterance(row))
        if turns and turns[-1].role == turn.role == USER:
            turns[-1] = Turn(USER, f"{turns[-1].text}\n\n{turn.text}")
        else:
            turns.append(turn)
    if turns[-1].role == USER or turns[-2].role == ASSISTANT:
        return []
    answers = sum(a.role == USER and b.role == ASSISTANT for a, b in pairwise(turns))
    question = with_context(turns[:-2], turns[-2].text)
    return [DialogueSet(question, None, turns[-1].text, f"{record['conv_id']}-{answers - 1}")]


def _utterance(row: JsonObject) -> str:
    if row.get("speaker_idx") is None:
        raise ValueError("'speaker_idx' is missing")
    return _text(row, "utterance").replace("_comma_", ",").strip()


def _conversation(record: JsonObject) -> object:
    return _text(record, "conv_id")


def _has(*fields: str) -> Callable[[JsonObject], bool]:
    return lambda record: all(field in record for field in fields)


def _any(*fields: str) -> Callable[[JsonObject], bool]:
    return lambda record: any(field in record for field in fields)


# In the order of detection: a form whose fields are another's and more comes first.
_ALL = (
    Form(
        "openorca",
        "system_prompt, question, response: the response is the reference",
        lambda r: "system_prompt" in r and "question" in r and "response" in r and "reference" not in r,
        _single("question", "response"),
    ),
    Form(
        "question",
        "question and any of response, reference",
        _has("question"),
        lambda record, _: [parse_dialogue_set(record)],
    ),
    Form(
        "chatgpt",
        "ChatGPT's export: each answer of the current branch is one set",
        _has("mapping"),
        lambda record, _: chatgpt_sets(record),
    ),
    Form(
        "openwebui",
        "Open WebUI's export: each answer of the current branch is one set",
        lambda r: isinstance(r.get("chat"), dict),
        lambda record, _: openwebui_sets(record),
    ),
    Form("messages", "chat messages: each assistant turn is one set", _has("messages"), _messages("messages")),
    Form(
        "sharegpt",
        "ShareGPT conversations: each assistant turn is one set",
        _any("conversations", "conversation"),
        _messages("conversations", "conversation"),
    ),
    Form(
        "empathetic",
        "Empathetic-Dialogues, a row an utterance: the listener's are the references",
        _has("conv_id", "utterance"),
        _empathetic,
        _conversation,
    ),
    Form(
        "prosocial",
        "Prosocial-Dialog: context is the question, response the reference",
        lambda r: "context" in r and "response" in r and ("rots" in r or "safety_label" in r),
        _prosocial,
    ),
    Form(
        "dolly",
        "DOLLY's instruction, context, response: the response is the reference",
        _has("instruction", "response"),
        _single("instruction", "response", "context"),
    ),
    Form(
        "instruction",
        "instruction, input, output, as ALPACA's: the output is the reference",
        _has("instruction", "output"),
        _single("instruction", "output", "input"),
    ),
    Form(
        "meddialog",
        "MedDialog's utterances: the doctor's are the references",
        _any("utterances", "dialogue_turns"),
        _meddialog,
    ),
)

FORMS = {form.name: form for form in _ALL}


def detect(record: object) -> Form | None:
    """The form that a record has the fields of, if any."""
    if not isinstance(record, dict):
        return None
    return next((form for form in _ALL if form.matches(record)), None)
