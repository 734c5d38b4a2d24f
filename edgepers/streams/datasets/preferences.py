"""Rows that say which answer is better, or whether one is good: what was rejected is never a reference."""

from edgepers.streams.answers import alone
from edgepers.streams.chats import ASSISTANT, USER, Turn, sets_of, with_context
from edgepers.streams.contents import turns_of
from edgepers.streams.datasets.columns import QUESTIONS, asked
from edgepers.streams.datasets.marked_text import answer_turns, is_transcript, transcript
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["KTO", "PREFERENCE"]

_CHOSEN = ("chosen", "chosen_response", "response_chosen", "accepted", "preferred_response", "winner")
_REJECTED = ("rejected", "rejected_response", "response_rejected", "dispreferred_response", "loser")
_PREFERRED = (*_CHOSEN, "reference", "answer", "output", "completion", "response")
_LABELS = ("label", "kto_tag")


def _before(record: JsonObject) -> list[Turn]:
    """What was asked: a text in one of the usual columns, or a list of messages."""
    for name in ("messages", "conversations", "conversation", *QUESTIONS):
        value = record.get(name)
        if isinstance(value, list):
            return turns_of(value, name)
        if isinstance(value, str) and value.strip():
            return transcript(value) if is_transcript(value) else [Turn(USER, asked(record, name))]
    return []


def _parted(record: JsonObject, field: str) -> tuple[list[Turn], str]:
    """The turns before an answer, and the answer alone, "" where there is none."""
    turns = answer_turns(record.get(field), field)
    if not turns:
        return [], ""
    answer, lost = alone(turns[-1].text)
    lost = turns[-1].lost or lost
    if turns[-1].role != ASSISTANT or lost:
        raise ValueError(f"'{field}' has nothing to learn: {lost or 'it ends in no answer'}")
    return turns[:-1], answer


def _preference(record: JsonObject, way: Way) -> list[DialogueSet]:
    """One set: the question, what was rejected as a bad response, what was chosen as the reference."""
    chosen = next((name for name in _PREFERRED if record.get(name)), "chosen")
    rejected = next((name for name in _REJECTED if name in record), "rejected")
    if not any(record.get(name) for name in (chosen, rejected)):
        raise ValueError("'chosen' is missing, and 'rejected' too")
    wanted_after, wanted = _parted(record, chosen)
    refused_after, refused = _parted(record, rejected)
    before = wanted_after or refused_after or _before(record)
    while before and before[-1].role != USER:
        before = before[:-1]
    if not before or before[-1].lost or not before[-1].text.strip():
        raise ValueError("'prompt' is missing, and no question stands in 'chosen' or 'rejected'")
    earlier = [turn for turn in before[:-1] if turn.role in (USER, ASSISTANT) and turn.text.strip()]
    question = with_context(earlier, before[-1].text.strip())
    verdict = "bad" if refused else ""
    return [DialogueSet(question, refused or None, wanted or None, identity_of(record, "prompt_id"), verdict)]


def _is_preference(record: JsonObject) -> bool:
    if any(name in record for name in _REJECTED):
        return True
    return "chosen" in record and ("messages" in record or not any(name in record for name in QUESTIONS))


def _label(record: JsonObject) -> str:
    """What the label says: "good", "bad", or "" where there is none that can be a verdict."""
    value = next((record[name] for name in _LABELS if record.get(name) is not None), None)
    word = str(value).strip().lower() if isinstance(value, (bool, int, float, str)) else ""
    return {"true": "good", "1": "good", "1.0": "good", "false": "bad", "0": "bad", "0.0": "bad"}.get(word, "")


def _is_kto(record: JsonObject) -> bool:
    return ("completion" in record or "messages" in record) and bool(_label(record))


def _kto(record: JsonObject, way: Way) -> list[DialogueSet]:
    """The last answer with its label as a verdict; what came before it is context."""
    verdict = _label(record)
    if record.get("completion"):
        turns = [*_before(record), *answer_turns(record["completion"], "completion")]
        field = "completion"
    else:
        turns, field = turns_of(record.get("messages"), "messages"), "messages"
    while turns and turns[-1].role != ASSISTANT:
        turns.pop()
    if turns:
        turns[-1] = turns[-1]._replace(verdict=verdict)
    return sets_of(turns, field, identity_of(record), way.notes, last_alone=True)


PREFERENCE = Form(
    "preference",
    "chosen and rejected, as for DPO: the chosen answer is the reference, the rejected one a bad response",
    _is_preference,
    _preference,
)
KTO = Form("kto", "an answer and its label, as for KTO: true is a good response, false a bad one", _is_kto, _kto)
