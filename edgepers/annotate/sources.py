"""Where the owner's verdicts come from.

A source is a callable: a kept set -> an Answer, SKIPPED where the owner was asked and gave none, None where nobody was
asked.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from edgepers.config import Settings
from edgepers.errors import StreamError, UsageError
from edgepers.state.records import SPOKEN, KeptSet
from edgepers.streams import MAX_LINE_BYTES, Stream, open_stream

__all__ = ["SKIPPED", "Answer", "Source", "ask", "from_file", "gold", "source_of"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The owner's verdict: the response that was wanted, or None where the one given was fine.

    With `bad`, None says that it was wrong, and no more than that.
    """

    reference: str | None
    bad: bool = False


SKIPPED = Answer("")  # the owner was asked, and gave no answer

Source = Callable[[KeptSet], Answer | None]


def source_of(settings: Settings, stream: Stream | None) -> Source:
    """What `--annotations` names; `gold` reads the stream given, or the one that the settings name.

    Raises:
        UsageError: gold, and there is no stream.
        StreamError: as for `from_file`.
    """
    named = settings.annotations
    if named == "ask":
        return ask()
    if named != "gold":
        return from_file(named)
    if stream is None and settings.stream is None:
        raise UsageError(
            "--annotations gold needs the stream's file again, and this state has read none; give ask or a file of"
            " answers"
        )
    return gold(
        stream or open_stream(str(settings.stream), settings.format, encoding=settings.encoding, me=settings.me)
    )


def gold(stream: Stream) -> Source:
    """The data set's own reference, revealed for the sets that are asked about and no others."""

    def source(kept: KeptSet) -> Answer | None:
        reference = None if kept.where == SPOKEN else stream.reference_at(kept.where)
        return Answer(reference) if reference and reference.strip() else None

    return source


def from_file(path: str | Path) -> Source:
    """Answers from JSON Lines: `id` or `question` names the set, and one of three judges it.

    `reference` corrects it, `"good": true` approves it, `"good": false` without a reference says that it was wrong.

    Raises:
        StreamError: names file, line and field.
    """
    answers: dict[tuple[str, str], Answer] = {}
    try:
        lines = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise StreamError(f"annotations {path}: {error.strerror}; give gold, ask, or a JSONL file of answers") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            key, answer = _answer(line)
        except ValueError as error:
            raise StreamError(f"{path}:{number}: {error}") from None
        answers[key] = answer

    def source(kept: KeptSet) -> Answer | None:
        return answers.get(("id", kept.id)) or answers.get(("question", kept.question))

    return source


def _answer(line: bytes) -> tuple[tuple[str, str], Answer]:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError("the line is too long")
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON at column {error.colno}: {error.msg}") from None
    if not isinstance(record, dict):
        raise ValueError(f"a {type(record).__name__} where an object with 'id' or 'question' belongs")
    field = (
        "id" if record.get("id") not in (None, "") else "question"
    )  # requests about sets without an id have an empty one
    if not isinstance(record.get(field), (str, int)):
        raise ValueError("neither 'id' nor 'question' says which set is meant")
    if record.get("good") is True:
        return (field, str(record[field])), Answer(None)
    reference = record.get("reference")
    empty = reference is None or (isinstance(reference, str) and not reference.strip())
    if empty and record.get("good") is False:
        return (field, str(record[field])), Answer(None, bad=True)
    if empty or not isinstance(reference, str):
        raise ValueError("'reference' is missing or empty; give the wanted response, or \"good\": true or false")
    return (field, str(record[field])), Answer(reference)


def ask(read: TextIO | None = None, write: TextIO | None = None) -> Source:
    """The owner at the terminal; without one nothing is asked, and the request stays open."""
    asked = read or sys.stdin
    talk = write or sys.stderr
    stopped = not asked.isatty()

    def source(kept: KeptSet) -> Answer | None:
        nonlocal stopped
        if stopped:
            return None
        print(f"\nYou asked:  {kept.question}\nIt said:    {kept.response}", file=talk)
        print("Enter: fine as it is · w: wrong · s: skip · q: no more · or write what it should have said", file=talk)
        print("> ", end="", file=talk, flush=True)
        line = asked.readline()
        word = line.strip()
        if not line or word == "q":
            stopped = True
            return None
        return SKIPPED if word == "s" else Answer(None, bad=True) if word == "w" else Answer(word or None)

    return source
