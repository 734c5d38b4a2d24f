"""The forms that records come in, in the order in which they are looked for; a form is told by a record's structure."""

from edgepers.streams.contents import is_message
from edgepers.streams.datasets.columns import (
    COLUMNS,
    DOLLY,
    INSTRUCTION,
    OPENORCA,
    PROSOCIAL,
    QUESTION,
    parse_dialogue_set,
)
from edgepers.streams.datasets.conversations import MESSAGE, MESSAGES, SHAREGPT, ULTRACHAT
from edgepers.streams.datasets.empathetic import EMPATHETIC
from edgepers.streams.datasets.marked_text import TEXT
from edgepers.streams.datasets.meddialog import MEDDIALOG
from edgepers.streams.datasets.preferences import KTO, PREFERENCE
from edgepers.streams.datasets.prompts import PROMPT
from edgepers.streams.exports.anythingllm import ANYTHINGLLM
from edgepers.streams.exports.characterai import CHARACTERAI
from edgepers.streams.exports.chatbox import CHATBOX
from edgepers.streams.exports.chatgpt import CHATGPT
from edgepers.streams.exports.claude import CLAUDE
from edgepers.streams.exports.copilot import COPILOT
from edgepers.streams.exports.deepseek import DEEPSEEK
from edgepers.streams.exports.gemini import AISTUDIO, GEMINI, TAKEOUT
from edgepers.streams.exports.grok import GROK
from edgepers.streams.exports.huggingchat import HUGGINGCHAT
from edgepers.streams.exports.librechat import LIBRECHAT
from edgepers.streams.exports.lmstudio import LMSTUDIO
from edgepers.streams.exports.openwebui import OPENWEBUI, OPENWEBUI_FEEDBACK
from edgepers.streams.exports.sillytavern import SILLYTAVERN
from edgepers.streams.exports.telegram import TELEGRAM
from edgepers.streams.exports.textgen import TEXTGEN
from edgepers.streams.exports.whatsapp import WHATSAPP
from edgepers.streams.form import Form, JsonObject

__all__ = ["FORMS", "Form", "as_record", "detect", "inner_records", "may_hold_records", "parse_dialogue_set"]

# A form whose fields are another's and more comes first.
_ALL = (
    DEEPSEEK, CHATGPT, OPENWEBUI, OPENWEBUI_FEEDBACK, CLAUDE, GROK, AISTUDIO, GEMINI, TAKEOUT, LIBRECHAT, LMSTUDIO,
    CHATBOX, HUGGINGCHAT, CHARACTERAI, TEXTGEN, SILLYTAVERN, COPILOT, ANYTHINGLLM, WHATSAPP, TELEGRAM, KTO, PREFERENCE,
    MESSAGES, SHAREGPT, ULTRACHAT, EMPATHETIC, PROSOCIAL, OPENORCA, QUESTION, DOLLY, INSTRUCTION, PROMPT, MEDDIALOG,
    TEXT, MESSAGE, COLUMNS,
)  # fmt: skip
FORMS = {form.name: form for form in _ALL}
# Rows of few columns: objects that lie inside of others may have them by chance.
_ROWS = (QUESTION, PROMPT, COLUMNS, TEXT, MESSAGE, DOLLY, INSTRUCTION, PROSOCIAL, KTO, PREFERENCE)
_MOST_INNER = 2  # objects and lists deep that records may lie in a file


def detect(record: object) -> Form | None:
    """The form that a record has the fields of, if any."""
    if not isinstance(record, dict):
        return None
    return next((form for form in _ALL if form.matches(record)), None)


def as_record(value: object) -> object:
    """A conversation that is a bare list of messages, as the record that it stands for; anything else as it is."""
    if isinstance(value, list) and value and all(is_message(item) for item in value):
        return {"messages": value}
    return value


def inner_records(value: object, depth: int = _MOST_INNER) -> list[JsonObject]:
    """The records that a file's one object holds: in lists, or conversations by their names; it may hold none."""
    if not isinstance(value, dict) or not depth or _is_form(value):
        return []
    found: list[JsonObject] = []
    for inner in value.values():
        if isinstance(inner, list):
            whole = as_record(inner)
            records = [whole] if isinstance(whole, dict) else [as_record(_row(item)) for item in inner]
            if any(isinstance(one, dict) and _is_form(one) for one in records):
                found += [one for one in records if isinstance(one, dict)]
        elif isinstance(inner, dict):
            conversation = _is_form(inner) and detect(inner) not in _ROWS
            found += [inner] if conversation else inner_records(inner, depth - 1)
    return found


def may_hold_records(form: Form) -> bool:
    """Whether what has this form may be no record but a list of them: `conversations` is ShareGPT's, and others'."""
    return form is SHAREGPT


def _row(item: object) -> object:
    """A row as the Hub's server of data sets gives it, with its number beside it."""
    return item["row"] if isinstance(item, dict) and isinstance(item.get("row"), dict) else item


def _is_form(record: JsonObject) -> bool:
    """Whether a record has a form; a list of conversations under the name of one conversation has none."""
    form = detect(record)
    if form is SHAREGPT:
        inner = record.get("conversations", record.get("conversation"))
        if isinstance(inner, dict):
            return not _is_form(inner)
        first = inner[0] if isinstance(inner, list) and inner else None
        return not isinstance(first, dict) or is_message(first) or detect(first) in (None, *_ROWS)
    return form is not None
