"""Rows with a question and an answer in columns, by the names that data sets give them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from edgepers.streams.answers import HALF_CHARACTER, alone, half_character
from edgepers.streams.chats import ASSISTANT, USER, Turn, with_context
from edgepers.streams.contents import turns_of, verdict_of
from edgepers.streams.form import Form, JsonObject, Way, has
from edgepers.streams.types import DialogueSet

__all__ = [
    "ANSWERS", "COLUMNS", "DOLLY", "INSTRUCTION", "OPENORCA", "PROSOCIAL", "QUESTION", "QUESTIONS", "SAID", "asked",
    "lower_names", "parse_dialogue_set", "read", "said_in", "text_in",
]  # fmt: skip

QUESTIONS = (
    "question", "prompt", "instruction", "query", "problem", "input", "text_input", "input_text", "user", "human",
)  # fmt: skip
ABOUT = ("input", "context", "passage", "document")
ANSWERS = (
    "reference", "answer", "output", "completion", "chosen", "answers", "target", "solution", "ideal", "best_answer",
    "correct_answer", "expected_output", "output_text", "expected", "ground_truth", "gold", "label_text",
)  # fmt: skip
SAID = ("response", "assistant", "bot", "model_answer", "generated")
_NAMES = ("id", "dialogue_id", "dialogue-id", "uuid", "question_id", "prompt_id", "_id", "idx", "index")
# What says something about a row and belongs neither into a question nor into an answer.
_BESIDE = {
    "category", "source", "dataset", "date", "turn", "title", "lang", "language", "split", "topic", "tags", "url",
    "created_at", "timestamp", "model", "system", "system_prompt", "history", "good", "verdict",
}  # fmt: skip
_KNOWN = _BESIDE.union(_NAMES, ABOUT)


def text_in(record: JsonObject, field: str, *, required: bool = True) -> str:
    """A text field; "" where it may be missing and is missing or blank.

    Raises:
        ValueError: names the field.
    """
    value = record.get(field)
    if value is None or (not required and isinstance(value, str) and not value.strip()):
        if required:
            raise ValueError(f"'{field}' is missing")
        return ""
    if not isinstance(value, str):
        raise ValueError(f"'{field}' is {type(value).__name__}, not text")
    if not value.strip():
        raise ValueError(f"'{field}' is empty")
    if half_character(value):
        raise ValueError(f"'{field}' holds half a surrogate pair: {HALF_CHARACTER}")
    return value


def _answer_in(record: JsonObject, field: str) -> str:
    """An answer alone, "" where there is none: a text, the first of a list, or `{"text": ...}` as SQuAD has it."""
    value: Any = record.get(field)
    for _ in range(3):
        if isinstance(value, dict):
            value = value.get("text", value.get("value"))
        elif isinstance(value, list):
            value = value[0] if value else None
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    answer, lost = alone(text_in({field: value}, field))
    if lost or not answer:
        raise ValueError(f"'{field}' has nothing to learn: {lost or 'a thought without an answer'}")
    return answer


def lower_names(record: JsonObject) -> JsonObject:
    """A record by lower-case names, as tables write them in any case; the first of two that become one counts."""
    if all(name == name.lower() for name in record):
        return record
    lowered: JsonObject = {}
    for name, value in record.items():
        lowered.setdefault(name.strip().lower(), value)
    return lowered


def asked(record: JsonObject, field: str, about: Sequence[str] = ABOUT) -> str:
    """The question of a row, with what it is about below it, and the turns of its `history` above."""
    value = record.get(field)
    if isinstance(value, list):
        raise ValueError(f"'{field}' is list, not text")
    parts = [text_in(record, field)]
    parts += (text_in(record, name, required=False) for name in about if name != field and name in record)
    question = "\n\n".join(filter(None, parts))
    history = record.get("history")
    if isinstance(history, list) and history:
        earlier = [turn for turn in turns_of(history, "history") if turn.text.strip() and not turn.lost]
        answers = (Turn(turn.role, alone(turn.text)[0]) if turn.role == ASSISTANT else turn for turn in earlier)
        return with_context([turn for turn in answers if turn.text and turn.role in (USER, ASSISTANT)], question)
    return question


def read(
    record: JsonObject,
    way: Way,
    *,
    question: str,
    answers: Sequence[str],
    said: str = "",
    ignored: Collection[str] = (),
) -> list[DialogueSet]:
    """A row as one set.

    Args:
        record: the row.
        way: its notes are told of columns that are not read.
        question: column of the question.
        answers: columns of the wanted answer, of which the first that has one counts.
        said: column of what was said; "" for none.
        ignored: columns that belong to the form and are not read.

    Raises:
        ValueError: names the column.
    """
    record = lower_names(record)
    text = asked(record, question)
    response = _answer_in(record, said) if said and record.get(said) is not None else None
    if response == "":
        raise ValueError(f"'{said}' is empty")
    reference = found = ""
    for name in answers:
        if name != question and (reference := _answer_in(record, name)):
            found = name
            break
    verdict = verdict_of(record.get("good")) if isinstance(record.get("good"), bool) else ""
    read_here = _KNOWN | {question, said, found, *ignored}
    for name, value in record.items():
        if name not in read_here and value not in (None, "", []):
            way.notes.not_read(name)
    return [DialogueSet(text, response, reference or None, _name(record), verdict if response else "")]


def _name(record: JsonObject) -> str | None:
    for name in _NAMES:
        value = record.get(name)
        if value is not None and not isinstance(value, (dict, list)):
            return str(value)
    return None


def parse_dialogue_set(record: object) -> DialogueSet:
    """A dialogue set from one decoded record of edgepers' own form.

    Raises:
        ValueError: with the field and what is wrong with it.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a {type(record).__name__} where an object with 'question' belongs")
    return _question(record, Way())[0]


def _question(record: JsonObject, way: Way) -> list[DialogueSet]:
    record = lower_names(record)
    return read(record, way, question="question", answers=ANSWERS, said=said_in(record))


def said_in(record: JsonObject) -> str:
    """The column of what was said, "" where there is none."""
    return next((name for name in SAID if record.get(name) is not None), "")


def _single(
    question: str, *answers: str, ignored: Collection[str] = ()
) -> Callable[[JsonObject, Way], list[DialogueSet]]:
    """Rows whose answer is a reference, which they must have."""

    def sets(record: JsonObject, way: Way) -> list[DialogueSet]:
        (found,) = read(record, way, question=question, answers=answers, ignored=ignored)
        if found.reference is None:
            text_in(lower_names(record), answers[0])
            raise ValueError(f"'{answers[0]}' is empty")
        return [found]

    return sets


def _columns(record: JsonObject, way: Way) -> list[DialogueSet]:
    record = lower_names(record)
    question = next((name for name in QUESTIONS if name in record), QUESTIONS[0])
    return read(record, way, question=question, answers=ANSWERS, said=said_in(record))


def _has_columns(record: JsonObject) -> bool:
    names = {name.strip().lower() for name in record}
    question = next((name for name in QUESTIONS if name in names), None)
    return question is not None and any(name in names for name in (*ANSWERS, *SAID) if name != question)


def _prosocial(record: JsonObject, way: Way) -> list[DialogueSet]:
    parts = [record.get(name) for name in ("dialogue_id", "response_id")]
    named = None if None in parts else "-".join(map(str, parts))
    answer = _answer_in(record, "response")
    if not answer:
        text_in(record, "response")
    return [replace(DialogueSet(text_in(record, "context"), None, answer), id=named)]


# In the order of detection: a form whose fields are another's and more comes first.
OPENORCA = Form(
    "openorca",
    "system_prompt, question, response: the response is the reference",
    lambda r: "system_prompt" in r and "question" in r and "response" in r and "reference" not in r,
    _single("question", "response"),
)
QUESTION = Form(
    "question", "question and any of response, reference, or an answer by another name", has("question"), _question
)
PROSOCIAL = Form(
    "prosocial",
    "Prosocial-Dialog: context is the question, response the reference",
    lambda r: "context" in r and "response" in r and ("rots" in r or "safety_label" in r),
    _prosocial,
)
DOLLY = Form(
    "dolly",
    "DOLLY's instruction, context, response: the response is the reference",
    has("instruction", "response"),
    _single("instruction", "response"),
)
INSTRUCTION = Form(
    "instruction",
    "instruction, input, output, as ALPACA's: the output is the reference",
    has("instruction", "output"),
    _single("instruction", "output"),
)
COLUMNS = Form(
    "columns", "a question and an answer in columns of other names: the answer is the reference", _has_columns, _columns
)
