"""Rows of a table with a header, as data sets and logs are also published: one a row, read as lazily as lines are."""

import csv
import functools
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from edgepers.streams.forms import detect
from edgepers.streams.framing import MAX_LINE_BYTES, Record

__all__ = ["Table", "rows", "table_of"]

_UNQUOTED = (
    "conv_id"  # Empathetic-Dialogues writes no quotes around fields, `_comma_` for commas, and quotes as they come
)


@dataclass(frozen=True, slots=True)
class Table:
    """How a table is written: its columns, lower-case, and the sign between them; `known` where a form has them."""

    columns: tuple[str, ...]
    delimiter: str
    known: bool

    @property
    def quoted(self) -> bool:
        """Whether fields may stand in quotes."""
        return self.columns[0] != _UNQUOTED


def table_of(head: bytes) -> Table | None:
    """The table that a file begins as: one whose columns a form knows, or else one of at least two columns."""
    first = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode("utf-8", errors="replace").strip()
    if not first or first[0] in "{[":
        return None
    found: Table | None = None
    for delimiter in ("\t", ",", ";", "|"):
        try:
            columns = next(csv.reader([first], delimiter=delimiter), [])
        except csv.Error:
            continue
        names = tuple(column.strip().lower() for column in columns)
        if len(names) < 2 or len(set(names)) < len(names) or not all(names):
            continue
        if detect(dict.fromkeys(names, "")) is not None:
            return Table(names, delimiter, known=True)
        found = found or Table(names, delimiter, known=False)
    return found


def rows(file: BinaryIO, offset: int, line: int, table: Table) -> Iterator[Record]:
    """The rows of a file that stands at `offset`, the header passed over; a quoted field may run over several lines."""
    while first := file.readline(MAX_LINE_BYTES + 1):
        lines, size = [first], len(first)
        inside = table.quoted and first.count(b'"') % 2 == 1
        while inside and size <= MAX_LINE_BYTES and (more := file.readline(MAX_LINE_BYTES + 1)):
            inside = more.count(b'"') % 2 == 0
            lines.append(more)
            size += len(more)
        data, end_line = b"".join(lines), line + len(lines)
        end = offset + len(data)
        if data.strip() and offset > 0:
            yield Record(offset, line, end, end_line, functools.partial(_row, data, table), f":{line + 1}")
        offset, line = end, end_line


def _row(data: bytes, table: Table) -> object:
    if len(data) > MAX_LINE_BYTES:
        raise ValueError(f"longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8; give --encoding (latin-1, cp1252, ...)") from None
    columns = table.columns
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=table.delimiter)
        fields = next(reader, []) if table.quoted else text.split(",")
    except csv.Error as error:
        raise ValueError(
            f"no row of a table: {error}; a field holds more than 128 KiB, or a quote is not closed"
        ) from None
    if len(fields) < len(columns):
        raise ValueError(
            f"'{columns[len(fields)]}' is missing: {len(fields)} fields, and the header has {len(columns)}"
        )
    return dict(zip(columns, fields, strict=False))
