"""Conversations in one text, their turns marked: ALPACA's headings, "Human:", ChatML, [INST]."""

import re

from edgepers.streams.chats import ASIDE, ASSISTANT, USER, Turn, role_of, sets_of
from edgepers.streams.contents import message_turn, turns_of
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["TEXT", "answer_turns", "is_transcript", "transcript"]

_HEADING = re.compile(  # the last two also where one turn follows the other without a new line
    r"(?:^###|###(?=\s*(?:Human|Assistant)\s*:))"
    r"\s*(Instruction|Input|Response|Human|User|Assistant|Output|System|Context)\s*:[ \t]*",
    re.M | re.I,
)
_SPEAKER = re.compile(r"(?:^|\n\n)[ \t]*(Human|Assistant|User|System)\s*:[ \t]*", re.I)
_CHATML = re.compile(r"<\|im_start\|>(\w+)[ \t]*\n?(.*?)(?:<\|im_end\|>|(?=<\|im_start\|>)|\Z)", re.S)
_LLAMA3 = re.compile(
    r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\s*(.*?)(?:<\|eot_id\|>|(?=<\|start_header_id\|>)|\Z)", re.S
)
_GEMMA = re.compile(r"<start_of_turn>(\w+)[ \t]*\n?(.*?)(?:<end_of_turn>|(?=<start_of_turn>)|\Z)", re.S)
_ZEPHYR = re.compile(
    r"<\|(user|assistant|system)\|>\s*(.*?)(?:</s>|<\|end\|>|(?=<\|(?:user|assistant|system)\|>)|\Z)", re.S
)
_INST = re.compile(r"\[INST\](.*?)\[/INST\](.*?)(?=<s>|\[INST\]|</s>|\Z)", re.S)
_SYS = re.compile(r"<<SYS>>.*?<</SYS>>", re.S)
_ENDS = re.compile(r"(?:</s>|<\|endoftext\|>|<\|eot_id\|>|<eos>|<\|im_end\|>)\s*\Z")
_HEADINGS = {"instruction": USER, "input": USER, "context": USER, "response": ASSISTANT, "output": ASSISTANT}


def is_transcript(text: str) -> bool:
    """Whether a text has marked turns, of which at least one is somebody's who asks."""
    return any(turn.role == USER for turn in transcript(text))


def transcript(text: str) -> list[Turn]:
    """The turns of a marked text; none where nothing marks them."""
    for marked in (_CHATML, _LLAMA3, _GEMMA, _ZEPHYR):
        if found := marked.findall(text):
            return [_turn(who, said) for who, said in found]
    if found := _INST.findall(text):
        return [
            turn
            for asked, said in found
            for turn in (Turn(USER, _SYS.sub("", asked).strip()), _turn("assistant", said))
        ]
    for heading in (_HEADING, _SPEAKER):
        marks = list(heading.finditer(text))
        if len(marks) > 1 or (marks and heading is _HEADING):
            ends = [mark.start() for mark in marks[1:]] + [len(text)]
            return [_turn(mark[1], text[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)]
    return []


def answer_turns(value: object, field: str) -> list[Turn]:
    """The turns of an answer or a whole conversation: a text, a message, a list of messages, or a marked transcript."""
    if value is None or value == "":
        return []
    if isinstance(value, str) and is_transcript(value):
        return transcript(value)
    if isinstance(value, str) and not value.lstrip().startswith("[{"):
        return [Turn(ASSISTANT, value)]
    if isinstance(value, dict):
        return [message_turn(value, field)]
    return turns_of(value, field)


def _turn(who: str, said: str) -> Turn:
    role = _HEADINGS.get(who.lower())
    if role is None:
        try:
            role = role_of(who, "text")
        except ValueError:
            role = ASIDE
    return Turn(role, _ENDS.sub("", said).strip())


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    text = record.get("text")
    if not isinstance(text, str):
        raise ValueError(f"'text' is {'missing' if text is None else type(text).__name__ + ', not text'}")
    return sets_of(transcript(text), "text", identity_of(record), way.notes, known="reference")


TEXT = Form(
    "text",
    "a text with marked turns (ALPACA's headings, ChatML, [INST], Human:): each answer is a reference",
    lambda r: isinstance(r.get("text"), str) and is_transcript(r["text"]),
    _sets,
)
