"""What a stream's file is made of: one text, or the texts of an archive, each with the way its records are framed."""

import functools
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from edgepers.errors import StreamError
from edgepers.streams.csv_rows import rows, table_of
from edgepers.streams.encodings import encoding_of, recoded
from edgepers.streams.exports.whatsapp import is_whatsapp, messages
from edgepers.streams.forms import as_record, detect, inner_records
from edgepers.streams.framing import Record, frame, is_array, is_spread
from edgepers.streams.json_values import Values
from edgepers.streams.packed import Member, is_packed, unpacked

__all__ = ["Framing", "Section", "framing_of", "sections_of"]

HEAD_BYTES = 4096  # enough to tell two streams apart; appending to a file must not change it
Framing = Callable[[BinaryIO, int, int], Iterator[Record]]


@dataclass(frozen=True, slots=True)
class Section:
    """One text of a stream: how it is opened and framed, and at which of the stream's offsets it begins."""

    member: str  # its path in an archive, "" outside of one
    open: Callable[[], BinaryIO]
    framing: Framing
    begin: int
    size: int | None  # None: to the end, wherever that is by then

    def records(self, offset: int, line: int) -> Iterator[Record]:
        """Records from an offset of the stream on, with `line` records before it."""
        with self.open() as file:
            local = max(offset - self.begin, 0)
            file.seek(local)
            for record in self.framing(file, local, line):
                where = f" ({self.member}){record.place}" if self.member else record.place
                yield replace(record, offset=record.offset + self.begin, end=record.end + self.begin, place=where)


def framing_of(head: bytes, name: str) -> Framing:
    """How the records of a text that begins like this are told apart.

    Raises:
        StreamError: it is a page, or a table of which no column is known.
    """
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise StreamError(f"stream {name}: a page (HTML or XML); export it again as JSON, which most programs offer")
    if is_whatsapp(head):
        return messages
    table = table_of(head)
    if table is not None and (table.known or Path(name).suffix.lower() in (".csv", ".tsv")):
        if not table.known:
            columns = ", ".join(table.columns[:8])[:120]
            raise StreamError(
                f"stream {name}: a table whose columns are not known ({columns}); name them question and response, or"
                " question and reference"
            )
        return functools.partial(rows, table=table)
    return functools.partial(frame, array=is_array(head), spread=is_spread(head))


def sections_of(path: Path, encoding: str | None, log: Callable[[str], None]) -> tuple[list[Section], str]:
    """The texts of a file, and the fingerprint of the first record: a file may grow.

    Args:
        path: of the file.
        encoding: of its text, by name; None: UTF-8, or what its first bytes tell.
        log: told what in an archive is not read.

    Raises:
        StreamError: it is no text, is too large unpacked, or cannot be decoded or read.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if is_packed(head):
            return _of_archive(path, encoding, log)
        encoding = encoding or encoding_of(head) or ("utf-8" if b"\r" in head and b"\n" not in head else None)
        if encoding is not None:
            with path.open("rb") as file:
                return _of_members([Member("", recoded(file, encoding, name))], name)
    except OSError as error:
        raise StreamError(f"stream {name}: {error.strerror}") from None
    _refuse_binary(head, name)
    framing = framing_of(head, name)
    return [Section("", lambda: path.open("rb"), framing, 0, None)], _print_of(framing, head)


def _refuse_binary(head: bytes, name: str) -> None:
    if b"\0" in head:
        raise StreamError(
            f"stream {name}: a binary file (zero bytes at its start); give JSON Lines, one object with"
            " 'question' a line"
        )


def _of_archive(path: Path, encoding: str | None, log: Callable[[str], None]) -> tuple[list[Section], str]:
    members, others = unpacked(path)
    name = str(path)
    texts = [Member(one.name, _utf8(one.data, encoding, f"{name} ({one.name})")) for one in members]
    read = texts if len(texts) == 1 else [one for one in texts if _is_known(one)]
    others += [one.name for one in texts if one not in read]
    if not read:
        found = ", ".join(others[:4])[:120] or "nothing"
        raise StreamError(f"stream {name}: no file of a known form in it ({found}); unpack it and give the one that is")
    if others:
        more = f" and {len(others) - 4} more" if len(others) > 4 else ""
        log(f"stream {name}: not read of what is in it: {', '.join(others[:4])}{more}")
    return _of_members(read, name)


def _utf8(data: bytes, encoding: str | None, name: str) -> bytes:
    encoding = encoding or encoding_of(data[:HEAD_BYTES])
    return data if encoding is None else recoded(io.BytesIO(data), encoding, name)


def _is_known(member: Member) -> bool:
    """Whether the first record of a text has a form."""
    try:
        framing = framing_of(member.data[:HEAD_BYTES], member.name)
        record = next(framing(io.BytesIO(member.data), 0, 0), None)
        value = None if record is None else record.parse()
    except (ValueError, StreamError):
        return False
    value = as_record(value.values[0] if isinstance(value, Values) else value)
    return detect(value) is not None or bool(inner_records(value))


def _of_members(members: list[Member], name: str) -> tuple[list[Section], str]:
    sections: list[Section] = []
    begin = 0
    for member in members:
        head = member.data[:HEAD_BYTES]
        _refuse_binary(head, name)
        framing = framing_of(head, member.name or name)
        opener = functools.partial(io.BytesIO, member.data)
        sections.append(Section(member.name, opener, framing, begin, len(member.data)))
        begin += len(member.data)
    return sections, _print_of(sections[0].framing, members[0].data[:HEAD_BYTES])


def _print_of(framing: Framing, head: bytes) -> str:
    """A fingerprint of the first record, as far as the head holds it, without what stands between records."""
    record = next(framing(io.BytesIO(head), 0, 0), None)
    first = b"" if record is None else head[record.offset : record.end]
    header = b"" if record is None else head[: record.offset].strip(b"\xef\xbb\xbf[ \r\n\t")
    return hashlib.sha256(header + b"\n" + first.strip().rstrip(b",]").strip()).hexdigest()[:32]
