"""Streams of files and of standard input."""

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from edgepers.errors import StreamError
from edgepers.streams.encodings import decoder_of, encoding_of, recoded_pipe
from edgepers.streams.framing import Record
from edgepers.streams.packed import is_packed
from edgepers.streams.reading import Reading, no_log
from edgepers.streams.sections import framing_of, sections_of
from edgepers.streams.types import Arrival, Cursor, OnWarning

__all__ = ["FileStream"]


class FileStream:
    """JSON Lines, one JSON array, a table or a chat program's export in a file, packed or not; or on standard input.

    Args:
        path: of the file, or `-`.
        form: a name of `edgepers.streams.forms`; None detects it.
        log: gets a line about each form that was detected, and about each kind of what was left out.
        encoding: of the text by name; None: UTF-8, or what its first bytes tell.
        me: the owner's name in chats between people.

    Raises:
        StreamError: no such file, or not text.
    """

    def __init__(
        self,
        path: str | Path,
        form: str | None = None,
        log: Callable[[str], None] = no_log,
        *,
        encoding: str | None = None,
        me: str | None = None,
    ) -> None:
        self.name = str(path)
        self.live = False
        self._path = None if self.name == "-" else Path(path)
        self._reading = Reading("standard input" if self._path is None else self.name, form, log, me)
        self._encoding = encoding
        self.fingerprint: str | None = None
        if encoding is not None:
            decoder_of(encoding, self.name)
        if self._path is None:
            self.live = _is_pipe()
            return
        if not self._path.is_file():
            kind = "a folder" if self._path.is_dir() else "no such file"
            raise StreamError(
                f"stream {self.name}: {kind}; give a JSON Lines file, a chat export, or - for standard input"
            )
        self._sections, self.fingerprint = sections_of(self._path, encoding, log)

    def read(self, start: Cursor, on_warning: OnWarning) -> Iterator[Arrival]:
        """Yield sets from a cursor on; see `Stream.read`."""
        return self._read(start, on_warning, None)

    def _read(self, start: Cursor, on_warning: OnWarning, log: Callable[[str], None] | None) -> Iterator[Arrival]:
        if self._path is None:
            pipe, begin = _standard_input(start, self._encoding), Cursor(start.offset, start.line, start.invalid)
            yield from self._reading.arrivals(pipe, begin, on_warning, log)
            return
        if start.offset and self._reading.form is None:
            self._reading.detect_in(self._records(0, 0))
        yield from self._reading.arrivals(self._records(start.offset, start.line), start, on_warning, log)

    def _records(self, offset: int, line: int) -> Iterator[Record]:
        for section in self._sections:
            if section.size is not None and offset >= section.begin + section.size:
                continue
            for record in section.records(offset, line):
                line = record.end_line
                yield record

    def reference_at(self, here: Cursor) -> str | None:
        """See `Stream.reference_at`; standard input cannot be read twice."""
        if self._path is None:
            raise StreamError(
                "gold annotation looks references up in the stream again, which standard input cannot do; give a file"
            )
        found = next(self._read(here, no_log, no_log), None)
        if found is None or (found.here.offset, found.here.turn) != (here.offset, here.turn):
            raise StreamError(
                f"stream {self.name}: changed at line {here.line + 1} since it was read; restore the file"
            )
        return found.dialogue.reference


def _is_pipe() -> bool:
    """Whether standard input comes as it is written; a redirected file lies there whole."""
    try:
        return not stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode)
    except (OSError, ValueError):  # no descriptor: a program put its own stream there
        return True


def _standard_input(start: Cursor, encoding: str | None) -> Iterator[Record]:
    """Records as they come; the cursor counts on from where an earlier pipe ended."""
    given = sys.stdin.buffer
    file = cast(BinaryIO, given if hasattr(given, "peek") else io.BufferedReader(cast(io.RawIOBase, given)))
    head = file.peek(1)  # type: ignore[attr-defined]
    if is_packed(head):
        raise StreamError("standard input is a packed file; give the file's name, or unpack it into the pipe")
    encoding = encoding or encoding_of(head)
    if encoding is not None:
        file = recoded_pipe(file, encoding, "standard input")
    offset, line = start.offset, start.line
    while (head := file.peek(1)) and not head.strip():  # type: ignore[attr-defined]
        blank = file.read(len(head))
        offset, line = offset + len(blank), line + blank.count(b"\n")
    framing = framing_of(head, "standard input")
    array = getattr(framing, "keywords", {}).get("array") or "table" in getattr(framing, "keywords", {})
    yield from framing(file, 0 if array else offset, line)
