"""Read conversations as dialogue sets: an answer is a set with the turn before it; what came earlier is context."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edgepers.streams.answers import ENDS_IN_TOOL, HALF_CHARACTER, alone, half_character
from edgepers.streams.doubts import doubts
from edgepers.streams.notes import Notes
from edgepers.streams.types import DialogueSet

__all__ = [
    "ASIDE", "ASSISTANT", "CONTEXT_CHARS", "NO_WORDS", "THOUGHT_ALONE", "TOOL", "USER", "WEIGHT_0", "Turn", "role_of",
    "sets_of", "with_context", "without_context",
]  # fmt: skip

CONTEXT_CHARS = 600  # of earlier turns before a question: about 150 tokens, of the 512 that scoring and training read
_TURN_CHARS = 240  # of one earlier turn
_CONTEXT = re.compile(r"((?:(?:User|Assistant): [^\n]*\n)+)\n")

USER, ASSISTANT, TOOL, ASIDE = "user", "assistant", "tool", ""
_NAMES = {
    USER: "user human prompter patient customer owner you me question request user_query 病人 用户",
    ASSISTANT: "assistant gpt chatgpt model bot ai chatbot bing bard claude gemini grok copilot doctor response"
    " 医生 助手",
    TOOL: "tool function function_call function_response function-call function-response observation tool_call"
    " tool_calls tool_response tool_result tool_results tool-call tool-result ipython code_interpreter environment",
    ASIDE: "system developer info narrator",
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names.split()}

NO_WORDS = "a picture, a file or a voice message without words"
EMPTY = "an empty question"
THOUGHT_ALONE = "a thought without an answer"
WEIGHT_0 = "an answer of weight 0"


class Turn(NamedTuple):
    """What one side said.

    `role` is USER, ASSISTANT, TOOL (a call or its result), or ASIDE for what nobody said in the talk. `lost` is why
    nothing may be learned of it, "" where something may; `verdict` as in a dialogue set.
    """

    role: str
    text: str
    lost: str = ""
    verdict: str = ""


def role_of(value: object, field: str) -> str:
    """The role that a name stands for.

    Raises:
        ValueError: names the field.
    """
    if not isinstance(value, str):
        raise ValueError(f"'{field}' is {'missing' if value is None else type(value).__name__ + ', not text'}")
    role = _ROLES.get(value.strip().lower())
    if role is None:
        raise ValueError(f"'{field}' is {value[:40]!r}; roles are user, assistant, system and tool")
    return role


def with_context(earlier: Sequence[Turn], question: str) -> str:
    r"""The question under its last earlier turns, as many whole lines as fit; a long turn keeps its beginning.

    Example:
        "User: I have a dog.\nAssistant: What is she called?\n\nMoon. Can she swim?"
    """
    lines: list[str] = []
    room = CONTEXT_CHARS
    for turn in reversed(earlier):
        text = " ".join(turn.text.split())
        line = f"{turn.role.capitalize()}: {text if len(text) <= _TURN_CHARS else text[: _TURN_CHARS - 1] + '…'}"
        room -= len(line) + 1
        if room < 0:
            break
        lines.insert(0, line)
    return "\n".join(lines) + "\n\n" + question if lines else question


def without_context(question: str) -> tuple[str, str]:
    """What `with_context` has put together: the lines of earlier turns, "" where there are none, and the question."""
    found = _CONTEXT.match(question)
    return ("", question) if found is None else (found[1].rstrip("\n"), question[found.end() :])


@dataclass(slots=True)
class _Run:
    """Neighbouring turns of one side."""

    role: str
    texts: list[str] = field(default_factory=list)
    lost: str = ""
    verdict: str = ""

    @property
    def turn(self) -> Turn:
        return Turn(self.role, "\n\n".join(self.texts), self.lost, self.verdict)


def sets_of(
    turns: Iterable[Turn],
    where: str,
    identity: object,
    notes: Notes,
    *,
    known: str = "response",
    last_alone: bool = False,
) -> list[DialogueSet]:
    """One set an answer, which belongs to the turn of the user before it or to none.

    Neighbouring turns of one side are one turn; what the assistant says before it calls a tool is talk about the tool;
    what it says before the first turn of the user is context alone.

    Args:
        turns: in their order.
        where: names the field in what is raised.
        identity: names the conversation; None where it has no name.
        notes: told of each answer that is left out.
        known: whether the assistant's words are a "response" or a "reference".
        last_alone: only the last answer is learned, the others are context.

    Raises:
        ValueError: there is nothing to learn, with the reason.
    """
    runs, empty = _runs(turns)
    lost: list[str] = []
    sets: list[DialogueSet] = []
    context: list[Turn] = []
    asked: Turn | None = None
    for i, run in enumerate(runs):
        if run.role == USER:
            asked = run
            continue
        last = i == len(runs) - 1
        why = f"an answer to {asked.lost}" if asked is not None and asked.lost else run.lost
        if asked is not None and not why and (last or not last_alone):
            name = None if identity is None else f"{identity}-{len(sets)}"
            doubted = not last and doubts(run.text, runs[i + 1].text)
            sets.append(_set(with_context(context, asked.text), run, name, known, doubted=doubted))
        elif asked is not None and why:
            lost.append(why)
        if run.text and (asked is None or not asked.lost):
            context += (run,) if asked is None else (asked, run)
        asked = None
    if not sets:
        raise ValueError(
            f"'{where}' is empty"
            if empty
            else f"'{where}' has nothing to learn: {lost[-1]}"
            if lost
            else f"'{where}' has no assistant turn after a user turn"
        )
    for why in lost:
        notes.left_out(why)
    return sets


def _set(question: str, answer: Turn, name: str | None, known: str, *, doubted: bool) -> DialogueSet:
    if answer.verdict == "bad" or known == "response":
        return DialogueSet(question, answer.text, id=name, verdict=answer.verdict, doubted=doubted)
    return DialogueSet(question, reference=answer.text, id=name)


def _runs(turns: Iterable[Turn]) -> tuple[list[Turn], bool]:
    """Turns of the two sides by turns, and whether there was no turn at all."""
    runs: list[_Run] = []
    empty = True
    for turn in turns:
        empty = False
        if turn.role == USER:
            _take_question(runs, turn)
        elif turn.role == ASSISTANT:
            _take_answer(runs, turn)
        elif turn.role == TOOL and runs:
            if runs[-1].role == USER:
                runs.append(_Run(ASSISTANT))
            runs[-1].texts, runs[-1].lost = [], ENDS_IN_TOOL
    return [run.turn for run in runs], empty


def _take_question(runs: list[_Run], turn: Turn) -> None:
    text = turn.text.strip()
    lost = turn.lost or ("" if text else EMPTY)
    if half_character(text):
        text, lost = "", f"a question with {HALF_CHARACTER}"
    if not runs or runs[-1].role != USER:
        runs.append(_Run(USER, lost=lost))
    elif lost != EMPTY:
        runs[-1].lost = lost
    elif not runs[-1].texts:
        runs[-1].lost = runs[-1].lost or EMPTY
    if text:
        runs[-1].texts.append(text)


def _take_answer(runs: list[_Run], turn: Turn) -> None:
    text, lost = alone(turn.text)
    lost = turn.lost or lost
    if not text and not lost:
        if not turn.text.strip():  # an empty turn before or after the answer
            return
        lost = THOUGHT_ALONE
    if not runs or runs[-1].role != ASSISTANT:
        runs.append(_Run(ASSISTANT))
    run = runs[-1]
    run.lost, run.verdict = lost, turn.verdict or run.verdict
    if text and lost in ("", WEIGHT_0):
        run.texts.append(text)
