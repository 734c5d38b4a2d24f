"""Streams of files and of standard input."""

import functools
import hashlib
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from edgepers.errors import StreamError
from edgepers.streams.csv_rows import columns_of, rows
from edgepers.streams.framing import Record, frame, is_array
from edgepers.streams.reading import Reading, no_log
from edgepers.streams.types import Arrival, Cursor, OnWarning

__all__ = ["FileStream"]

_PREFIX_BYTES = 4096  # enough to tell two streams apart; appending to a file must not change it


class FileStream:
    """JSON Lines, one JSON array or CSV rows of a known form in a file; on standard input (`-`) the first two.

    Args:
        path: of the file, or `-`.
        form: a name of `edgepers.streams.forms`; "" detects it.
        log: gets one line about the form that was detected.

    Raises:
        StreamError: no such file, or not text.
    """

    def __init__(self, path: str | Path, form: str | None = None, log: Callable[[str], None] = no_log) -> None:
        self.name = str(path)
        self.live = False
        self._path = None if self.name == "-" else Path(path)
        self._reading = Reading("standard input" if self._path is None else self.name, form, log)
        self.fingerprint: str | None = None
        if self._path is None:
            self.live = _is_pipe()
            return
        if not self._path.is_file():
            kind = "a folder" if self._path.is_dir() else "no such file"
            raise StreamError(
                f"stream {self.name}: {kind}; give a JSON Lines file, a chat export, or - for standard input"
            )
        try:
            with self._path.open("rb") as file:
                head = file.read(_PREFIX_BYTES)
        except OSError as error:
            raise StreamError(f"stream {self.name}: {error.strerror}") from None
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise StreamError(f"stream {self.name}: UTF-16 text; save it as UTF-8")
        if b"\0" in head:
            raise StreamError(
                f"stream {self.name}: a binary file (zero bytes at its start); give JSON Lines, one object with"
                " 'question' a line"
            )
        columns, array = columns_of(head), is_array(head)
        self._frame: Callable[[BinaryIO, int, int], Iterator[Record]] = (
            functools.partial(frame, array=array) if columns is None else functools.partial(rows, columns=columns)
        )
        headers = 0 if columns is None else 1
        first = _first_element(head) if array else b"\n".join(head.split(b"\n", headers + 1)[: headers + 1])
        self.fingerprint = hashlib.sha256(first).hexdigest()[:32]  # of the first record: a file may grow

    def read(self, start: Cursor, on_warning: OnWarning) -> Iterator[Arrival]:
        """Yield sets from a cursor on; see `Stream.read`."""
        if self._path is None:
            yield from self._reading.arrivals(
                _standard_input(start), Cursor(start.offset, start.line, start.invalid), on_warning
            )
            return
        if start.offset and self._reading.form is None:
            with self._path.open("rb") as file:
                self._reading.detect_in(self._frame(file, 0, 0))
        with self._path.open("rb") as file:
            file.seek(start.offset)
            yield from self._reading.arrivals(self._frame(file, start.offset, start.line), start, on_warning)

    def reference_at(self, here: Cursor) -> str | None:
        """See `Stream.reference_at`; standard input cannot be read twice."""
        if self._path is None:
            raise StreamError(
                "gold annotation looks references up in the stream again, which standard input cannot do; give a file"
            )
        found = next(self.read(here, no_log), None)
        if found is None or (found.here.offset, found.here.turn) != (here.offset, here.turn):
            raise StreamError(
                f"stream {self.name}: changed at line {here.line + 1} since it was read; restore the file"
            )
        return found.dialogue.reference


def _first_element(head: bytes) -> bytes:
    """The first element of an array, or as much of it as the head holds."""
    record = next(frame(io.BytesIO(head), 0, 0, array=True), None)
    return b"" if record is None else head[record.offset : record.end].strip().rstrip(b",]").strip()


def _is_pipe() -> bool:
    """Whether standard input comes as it is written; a redirected file lies there whole."""
    try:
        return not stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode)
    except (OSError, ValueError):  # no descriptor: a program put its own stream there
        return True


def _standard_input(start: Cursor) -> Iterator[Record]:
    """Records as they come; the cursor counts on from where an earlier pipe ended."""
    given = sys.stdin.buffer
    file = given if hasattr(given, "peek") else io.BufferedReader(cast(io.RawIOBase, given))
    offset, line = start.offset, start.line
    while (head := file.peek(1)) and not head.strip():
        blank = file.read(len(head))
        offset, line = offset + len(blank), line + blank.count(b"\n")
    if is_array(head):
        yield from frame(file, 0, line, array=True)
    else:
        yield from frame(file, offset, line, array=False)
