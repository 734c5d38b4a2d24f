"""`prompt` with what completes it: text, a marked text, or lists of messages."""

from edgepers.streams.chats import USER, sets_of
from edgepers.streams.contents import turns_of
from edgepers.streams.datasets.columns import ANSWERS, lower_names, read, said_in
from edgepers.streams.datasets.marked_text import answer_turns, is_transcript, transcript
from edgepers.streams.form import Form, JsonObject, Way, has, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["PROMPT"]


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    record = lower_names(record)
    prompt, said = record.get("prompt"), said_in(record)
    if isinstance(prompt, list):
        before = turns_of(prompt, "prompt")
    elif isinstance(prompt, str) and is_transcript(prompt):
        before = transcript(prompt)
    else:
        return read(record, way, question="prompt", answers=ANSWERS, said=said)
    field = next((name for name in ANSWERS if record.get(name)), said)
    while before and before[-1].role != USER:  # the answer's heading may stand there already
        before = before[:-1]
    turns = [*before, *(answer_turns(record.get(field), field) if field else ())]
    known = "response" if field == said else "reference"
    return sets_of(turns, "prompt", identity_of(record), way.notes, known=known, last_alone=True)


PROMPT = Form("prompt", "prompt with completion, the reference, or response, what was said", has("prompt"), _sets)
