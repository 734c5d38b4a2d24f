"""Where one record ends and the next begins: JSON Lines, or the elements of one JSON array, however large the file."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["MAX_LINE_BYTES", "Record", "decode", "frame", "is_array"]

MAX_LINE_BYTES = 16 << 20  # a longer record is malformed; it bounds what one bad record can cost in memory
_CHUNK_BYTES = 1 << 18
_BOM = b"\xef\xbb\xbf"

_ARRAY = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*\[\s*(?:[{\]]|\Z)"
)  # `["text"]` is a malformed line, not an array of records
_BRACKET = re.compile(rb'["\[\]{}]')
_TOP = re.compile(rb'["\[\]{},]')
_IN_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies in its source: where it begins, where the next one does, and how its JSON is had."""

    offset: int
    line: int  # records before it
    end: int
    end_line: int
    parse: Callable[[], object]  # raises ValueError with what is wrong
    place: str  # what a complaint calls it, after the stream's name


def decode(data: bytes) -> object:
    """The JSON value of one record's bytes.

    Raises:
        ValueError: says what is wrong and where.
    """
    if len(data) > MAX_LINE_BYTES:
        raise ValueError(f"longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        text = data.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8") from None
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} of the record, " if error.lineno > 1 else ""
        raise ValueError(f"not JSON at {line}column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    except ValueError as error:  # a number with more digits than Python converts
        raise ValueError(f"not JSON: {str(error).split(';', maxsplit=1)[0]}") from None
    return value


def is_array(head: bytes) -> bool:
    """Whether a file that begins like this is one JSON array of objects; everything else is read as JSON Lines."""
    return _ARRAY.match(head) is not None


def frame(file: BinaryIO, offset: int, line: int, *, array: bool) -> Iterator[Record]:
    """The records of a file that stands at `offset`, with `line` records before it."""
    return _elements(file, offset, line) if array else _lines(file, offset, line)


def _lines(file: BinaryIO, offset: int, line: int) -> Iterator[Record]:
    while data := file.readline(MAX_LINE_BYTES + 1):
        size = len(data)
        tail = data  # a line past the limit is cut just behind it
        while not tail.endswith(b"\n") and (tail := file.readline(MAX_LINE_BYTES)):
            size += len(tail)
        if data.strip():
            yield Record(offset, line, offset + size, line + 1, _parser(data), f":{line + 1}")
        offset, line = offset + size, line + 1


def _parser(data: bytes) -> Callable[[], object]:
    return lambda: decode(data)


class _Scanner:
    """Follows the brackets and strings of one array, chunk by chunk, and nothing else of its JSON."""

    def __init__(self, *, inside: bool) -> None:
        self.depth = 1 if inside else 0
        self._in_string = False
        self.scanned = 0  # bytes of the last chunk; what is left, half an escape, begins the next one

    def cuts(self, chunk: bytes) -> Iterator[int]:
        """Where the array opens, and behind each element and its comma or bracket."""
        at, size = 0, len(chunk)
        while at < size:
            if self._in_string:
                inside = _IN_STRING.match(chunk, at)
                at = inside.end() if inside else at
                if at < size and chunk[at : at + 1] == b"\\":
                    break
                self._in_string, at = at >= size, min(at + 1, size)
                continue
            found = (_TOP if self.depth == 1 else _BRACKET).search(chunk, at)
            if found is None:
                at = size
                break
            at, sign = found.end(), found[0]
            self._in_string = sign == b'"'
            self.depth += (sign in b"[{") - (sign in b"]}")
            if sign == b"," or (self.depth == 1 and sign == b"[") or (self.depth == 0 and sign in b"]}"):
                yield at
                if self.depth == 0:
                    break
        self.scanned = at

    @property
    def within(self) -> bool:
        """Whether an element has begun and not ended."""
        return self._in_string or self.depth > 1


def _elements(file: BinaryIO, offset: int, line: int) -> Iterator[Record]:
    """Elements of an array; at offset 0 its opening bracket is still to come, at any other an element is.

    An element that is malformed inside costs itself and no other.
    """
    scanner = _Scanner(inside=offset > 0)
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)  # what a pipe has now, not what it will have
    element = bytearray()  # what is read of it, up to the limit
    begin = at = offset
    opened = offset > 0
    rest = b""
    while data := read(_CHUNK_BYTES):
        chunk = rest + data
        from_ = 0
        for cut in scanner.cuts(chunk):
            element += chunk[from_ : cut - 1][: MAX_LINE_BYTES + 1 - len(element)]
            if opened and element.strip():
                end = at + cut - (scanner.depth == 0)  # the closing bracket is read again by whoever goes on from here
                yield Record(begin, line, end, line + 1, _parser(bytes(element)), f": record {line + 1}")
                line += 1
            element.clear()
            begin, from_, opened = at + cut, cut, True
            if scanner.depth == 0:
                if chunk[cut:].strip() or read(_CHUNK_BYTES).strip():
                    yield Record(begin, line, at + cut, line + 1, _closed_early, f": record {line + 1}")
                return
        element += chunk[from_ : scanner.scanned][: MAX_LINE_BYTES + 1 - len(element)]
        rest = chunk[scanner.scanned :]
        at += scanner.scanned
    if element.strip() or scanner.within:
        yield Record(begin, line, at, line + 1, _cut_off, f": record {line + 1}")


def _cut_off() -> object:
    raise ValueError("the file ends inside this record")


def _closed_early() -> object:
    raise ValueError("brackets that do not match end the array before the file ends; what follows cannot be read")
