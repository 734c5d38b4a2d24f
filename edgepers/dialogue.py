"""The dialogue set, and streams of them: read lazily, resumable at a cursor, never stopped by one bad line."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

from edgepers.errors import StreamError

__all__ = [
    "Arrival",
    "Cursor",
    "DialogueSet",
    "FileStream",
    "IterableStream",
    "Stream",
    "open_stream",
    "parse_dialogue_set",
    "read_dialogue_sets",
]

MAX_LINE_BYTES = 16 << 20  # a longer line is malformed; it bounds what one bad line can cost in memory
_PREFIX_BYTES = 4096  # enough to tell two streams apart; appending to a file must not change it


@dataclass(frozen=True, slots=True)
class DialogueSet:
    """One user turn and the assistant's turn: what is scored, kept and trained on.

    `response` is None where the published model is to answer; `reference` is what the owner would have wanted, known
    only from an annotation or from a data set.
    """

    question: str
    response: str | None = None
    reference: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where reading goes on: `offset` in bytes (files) or items (iterables), lines and invalid lines before it."""

    offset: int = 0
    line: int = 0
    invalid: int = 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A valid dialogue set as it arrived: `here` is the cursor that reads it again, `after` the one that follows it."""

    dialogue: DialogueSet
    here: Cursor
    after: Cursor


Complain = Callable[[str], None]


@runtime_checkable
class Stream(Protocol):
    """What the chain needs of a stream."""

    name: str
    fingerprint: str | None

    def read(self, start: Cursor, complain: Complain) -> Iterator[Arrival]:
        """Valid sets from `start` on; each malformed line is told to `complain` in one line and counted in the cursors."""

    def reference_at(self, here: Cursor) -> str | None:
        """The reference of the set at `here`: what gold annotation reveals."""


def _text(record: dict[str, Any], field: str, *, required: bool) -> str | None:
    value = record.get(field)
    if value is None:
        if required:
            raise ValueError(f"'{field}' is missing")
        return None
    if not isinstance(value, str):
        raise ValueError(f"'{field}' is {type(value).__name__}, not text")
    if not value.strip():
        raise ValueError(f"'{field}' is empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"'{field}' holds half a surrogate pair") from None
    return value


def parse_dialogue_set(record: object) -> DialogueSet:
    """A dialogue set from one decoded JSON record.

    Raises:
        ValueError: with the field and what is wrong with it.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a {type(record).__name__} where an object with 'question' belongs")
    question = _text(record, "question", required=True)
    assert question is not None
    if isinstance(record.get("reference"), str) and not record["reference"].strip():
        record = {**record, "reference": None}  # data sets leave it blank where they have none
    identity = record.get("id")
    return DialogueSet(
        question=question,
        response=_text(record, "response", required=False),
        reference=_text(record, "reference", required=False),
        id=None if identity is None else str(identity),
    )


def _parse_line(line: bytes) -> DialogueSet:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"the line is longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8") from None
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON at column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    return parse_dialogue_set(record)


def _lines(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Each line (cut just past the limit) with the bytes it takes in the file."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        size = len(line)
        tail = line
        while not tail.endswith(b"\n") and (tail := file.readline(MAX_LINE_BYTES)):
            size += len(tail)
        yield line, size


class FileStream:
    """JSON Lines in a file, or on standard input for `-`."""

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        self._path = None if self.name == "-" else Path(path)
        self.fingerprint: str | None = None
        if self._path is None:
            return
        if not self._path.is_file():
            kind = "a folder" if self._path.is_dir() else "no such file"
            raise StreamError(f"stream {self.name}: {kind}; give a JSONL file, or - for standard input")
        try:
            with self._path.open("rb") as file:
                head = file.read(_PREFIX_BYTES)
        except OSError as error:
            raise StreamError(f"stream {self.name}: {error.strerror}") from None
        if b"\0" in head:
            raise StreamError(
                f"stream {self.name}: a binary file (zero bytes at its start); give JSON Lines, one object with 'question' a line"
            )
        self.fingerprint = hashlib.sha256(head.split(b"\n", 1)[0]).hexdigest()[:32]  # the first line: a file may grow

    def read(self, start: Cursor, complain: Complain) -> Iterator[Arrival]:
        """See `Stream.read`."""
        if self._path is None:
            yield from self._arrivals(sys.stdin.buffer, start, complain)
            return
        with self._path.open("rb") as file:
            file.seek(start.offset)
            yield from self._arrivals(file, start, complain)

    def _arrivals(self, file: BinaryIO, start: Cursor, complain: Complain) -> Iterator[Arrival]:
        here = start
        for line, size in _lines(file):
            after = Cursor(here.offset + size, here.line + 1, here.invalid)
            if line.strip():
                try:
                    dialogue = _parse_line(line if len(line) > MAX_LINE_BYTES else line.removeprefix(b"\xef\xbb\xbf"))
                except ValueError as error:
                    after = Cursor(after.offset, after.line, after.invalid + 1)
                    complain(f"{self.name}:{after.line}: {error}")
                else:
                    yield Arrival(dialogue, here, after)
            here = after

    def reference_at(self, here: Cursor) -> str | None:
        """See `Stream.reference_at`; standard input cannot be read twice."""
        if self._path is None:
            raise StreamError("gold annotation looks references up in the stream again, which standard input cannot do; give a file")
        with self._path.open("rb") as file:
            file.seek(here.offset)
            try:
                return _parse_line(file.readline(MAX_LINE_BYTES + 1)).reference
            except ValueError:
                raise StreamError(f"stream {self.name}: changed at line {here.line + 1} since it was read; restore the file") from None


class IterableStream:
    """Dialogue sets that the caller holds; iterated afresh for every reading."""

    def __init__(self, dialogues: Iterable[DialogueSet], name: str = "iterable") -> None:
        self.name = name
        self._dialogues = dialogues if isinstance(dialogues, (list, tuple)) else list(dialogues)
        self.fingerprint = hashlib.sha256(self._dialogues[0].question.encode()).hexdigest()[:32] if self._dialogues else None

    def read(self, start: Cursor, complain: Complain) -> Iterator[Arrival]:
        """See `Stream.read`."""
        here = start
        for dialogue in islice(self._dialogues, start.offset, None):
            after = Cursor(here.offset + 1, here.line + 1, here.invalid)
            if dialogue.question.strip() and (dialogue.response is None or dialogue.response.strip()):
                yield Arrival(dialogue, here, after)
            else:
                after = Cursor(after.offset, after.line, after.invalid + 1)
                complain(f"{self.name}:{after.line}: 'question' or 'response' is empty")
            here = after

    def reference_at(self, here: Cursor) -> str | None:
        """See `Stream.reference_at`."""
        return self._dialogues[here.offset].reference


def open_stream(source: "str | Path | Stream | Iterable[DialogueSet]") -> Stream:
    """A stream from a path, `-`, an iterable of dialogue sets, or a stream."""
    if isinstance(source, (str, Path)):
        return FileStream(source)
    return source if isinstance(source, Stream) else IterableStream(source)


def read_dialogue_sets(path: str | Path, *, need_reference: bool = False) -> list[DialogueSet]:
    """All sets of a small file, such as a test set; a malformed line is an error here.

    Raises:
        StreamError: names file and line.
    """

    def complain(message: str) -> None:
        raise StreamError(f"{message}; every line of a test set must be valid")

    sets = [arrival.dialogue for arrival in FileStream(path).read(Cursor(), complain)]
    if not sets:
        raise StreamError(f"{path}: no dialogue set in it; give JSON Lines with 'question' and 'reference'")
    for number, dialogue in enumerate(sets, 1):
        if need_reference and dialogue.reference is None:
            raise StreamError(f"{path}: set {number} has no 'reference' to compare an answer with")
    return sets
