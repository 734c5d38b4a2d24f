"""What may be learned of a finished call, and why not where nothing may."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgepers.model.prompts import Message
from edgepers.serve.hints import Hints
from edgepers.serve.own_words import own_words
from edgepers.serve.tasks import is_task
from edgepers.streams.chats import Turn, sets_of
from edgepers.streams.reasoning import answer_of

__all__ = ["NOT_LEARNED", "Call", "Lesson", "lesson_of"]

# Why nothing is learned of a call.
NOT_LEARNED = ("asked_not_to", "side_turn", "task", "tool", "cut", "empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A talk that was to be answered, as far as learning goes.

    Attributes:
        messages: "role" (system, user, assistant, tool) and "content".
        hints: of its headers.
        calls_tools: the answer was a call of a tool, not text.
    """

    messages: Sequence[Message]
    hints: Hints
    calls_tools: bool = False


@dataclass(frozen=True, slots=True)
class Lesson:
    """One exchange worth offering to the selector.

    Attributes:
        turns: of both sides, the question last.
        question: with the last earlier turns before it, as streams have it.
        answer: without thoughts.
    """

    turns: tuple[Turn, ...]
    question: str
    answer: str


def lesson_of(call: Call, answer: str, *, whole: bool) -> Lesson | str:
    """The exchange that a call and its answer are; or one of `NOT_LEARNED`.

    System and tool turns are left out, thoughts, and what was retrieved.

    Args:
        call: what was asked.
        answer: what was said, thoughts and all.
        whole: False where it was cut, by its length or because the client left.
    """
    if why := _kept_out(call):
        return why
    if not whole:
        return "cut"
    said = answer_of(answer)
    turns = tuple(filter(None, map(_turn, call.messages)))
    if not said or not turns or call.messages[-1]["role"] != "user" or turns[-1].role != "user":
        return "empty"
    sets = sets_of([*turns, Turn("assistant", said)], "messages", None)
    return Lesson(turns, sets[-1].question, said)


def _kept_out(call: Call) -> str:
    """Why a call is not its owner's own turn, "" where it is."""
    roles = [message["role"] for message in call.messages]
    if not call.hints.learn:
        return "asked_not_to"
    if not call.hints.main:
        return "side_turn"
    if is_task(call.messages, call.hints.task):
        return "task"
    return "tool" if call.calls_tools or "user" not in roles or roles[-1] in ("tool", "function") else ""


def _turn(message: Message) -> Turn | None:
    """A turn of one of the two sides, as far as it is its own words."""
    role = message["role"]
    if role == "user":
        text: str | None = own_words(message["content"])
    elif role == "assistant":
        text = answer_of(message["content"])
    else:
        return None
    return Turn(role, text) if text and text.strip() else None
