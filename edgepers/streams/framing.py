"""Where one record ends and the next begins: JSON Lines, objects over several lines, or the elements of one array.

However large the file.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from edgepers.streams.json_values import MAX_LINE_BYTES, decode

__all__ = ["MAX_LINE_BYTES", "Record", "first_names", "frame", "is_array", "is_spread"]

_CHUNK_BYTES = 1 << 18

# `["text"]` is a malformed line, not an array of records
_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*(?:[{\]]|\[\s*\{|\Z)")
_NAME = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*:')
_OPEN_BEFORE = b",[:{"  # what may stand before a value inside an object or a list
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


def first_names(head: bytes) -> set[str]:
    """The names of the first object of a file that begins like this, as far as it goes; not those of objects inside."""
    names: set[str] = set()
    depth, at = 0, head.find(b"{")
    while 0 <= at < len(head):
        sign = head[at : at + 1]
        if sign == b'"':
            named = _NAME.match(head, at) if depth == 1 else None
            inside = _IN_STRING.match(head, at + 1)
            if named:
                names.add(named[1].decode("utf-8", errors="replace"))
            at = named.end() if named else (inside.end() + 1 if inside else len(head))
            continue
        depth += (sign in b"[{") - (sign in b"]}")
        if depth <= 0:
            break
        found = _BRACKET.search(head, at + 1)
        at = found.start() if found else len(head)
    return names


def is_array(head: bytes) -> bool:
    """Whether a file that begins like this is one JSON array of records.

    An array of messages is a record itself: one conversation. Everything else is read as JSON Lines.
    """
    if _ARRAY.match(head) is None:
        return False
    names = first_names(head)
    message = ("role" in names or "from" in names) and not names & {"messages", "conversations", "mapping", "prompt"}
    return not message or head.split(b"{", 1)[0].count(b"[") > 1


def is_spread(head: bytes) -> bool:
    """Whether the first record of a file that begins like this goes over several lines, as people print JSON."""
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0]
    if first[:1] not in (b"{", b"[") or first == head.lstrip():
        return False
    depth, in_string = _depth(first, 0)
    return depth > 0 and not in_string


def frame(file: BinaryIO, offset: int, line: int, *, array: bool, spread: bool = False) -> Iterator[Record]:
    """The records of a file that stands at `offset`, with `line` records before it."""
    return _elements(file, offset, line) if array else (_spread if spread else _lines)(file, offset, line)


def _depth(line: bytes, depth: int) -> tuple[int, bool]:
    """How deep a line leaves off, and whether inside a string, which no line of JSON does."""
    at = 0
    while found := _BRACKET.search(line, at):
        at, sign = found.end(), found[0]
        if sign == b'"':
            inside = _IN_STRING.match(line, at)
            at = inside.end() if inside else at
            if line[at : at + 1] != b'"':
                return depth, True
            at += 1
        else:
            depth += (sign in b"[{") - (sign in b"]}")
    return depth, False


def _lines(file: BinaryIO, offset: int, line: int) -> Iterator[Record]:
    for data, size in _read_lines(file):
        if data.strip():
            yield Record(offset, line, offset + size, line + 1, _parser(data), f":{line + 1}")
        offset, line = offset + size, line + 1


def _read_lines(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Each line as far as the limit, and its size."""
    while data := file.readline(MAX_LINE_BYTES + 1):
        size = len(data)
        tail = data  # a line past the limit is cut just behind it
        while not tail.endswith(b"\n") and (tail := file.readline(MAX_LINE_BYTES)):
            size += len(tail)
        yield data, size


def _spread(file: BinaryIO, offset: int, line: int) -> Iterator[Record]:
    """Records over several lines. One that is not closed before the next begins costs itself alone."""
    begin, number, depth = offset, line, 0
    held = bytearray()
    for data, size in _read_lines(file):
        text = data.strip()
        if held and text[:1] == b"{" and depth > 0 and held.rstrip()[-1] not in _OPEN_BEFORE:
            yield Record(begin, number, offset, line, _parser(bytes(held)), f":{number + 1}")
            held.clear()
        if not held:
            begin, number, depth = offset, line, 0
        depth, _ = _depth(text, depth)
        offset, line = offset + size, line + 1
        held += data[: MAX_LINE_BYTES + 1 - len(held)] if text else b""
        if held and depth <= 0:
            yield Record(begin, number, offset, line, _parser(bytes(held)), f":{number + 1}")
            held.clear()
    if held:
        yield Record(begin, number, offset, line, _cut_off, f":{number + 1}")


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
