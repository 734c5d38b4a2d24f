"""Records of a CSV file with a header, as data sets are also published: one a row, read as lazily as lines are."""

import csv
import functools
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from edgepers.streams.forms import detect
from edgepers.streams.framing import MAX_LINE_BYTES, Record

__all__ = ["columns_of", "rows"]

_UNQUOTED = (
    "conv_id"  # Empathetic-Dialogues writes no quotes around fields, `_comma_` for commas, and quotes as they come
)


def columns_of(head: bytes) -> list[str] | None:
    """The columns of a CSV file that begins like this, if they are those of a known form."""
    first = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode("utf-8", errors="replace").strip()
    if "," not in first or first[0] in "{[":
        return None
    columns = next(csv.reader([first]), [])
    return columns if detect(dict.fromkeys(columns, "")) is not None else None


def rows(file: BinaryIO, offset: int, line: int, columns: Sequence[str]) -> Iterator[Record]:
    """The rows of a file that stands at `offset`, the header passed over; a quoted field may run over several lines."""
    quoted = columns[0] != _UNQUOTED
    while data := file.readline(MAX_LINE_BYTES + 1):
        end_line = line + 1
        while (
            quoted
            and data.count(b'"') % 2
            and len(data) <= MAX_LINE_BYTES
            and (more := file.readline(MAX_LINE_BYTES + 1))
        ):
            data, end_line = data + more, end_line + 1
        end = offset + len(data)
        if data.strip() and offset > 0:
            yield Record(
                offset, line, end, end_line, functools.partial(_row, data, columns, quoted=quoted), f":{line + 1}"
            )
        offset, line = end, end_line


def _row(data: bytes, columns: Sequence[str], *, quoted: bool) -> object:
    if len(data) > MAX_LINE_BYTES:
        raise ValueError(f"longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8") from None
    try:
        fields = next(csv.reader(text.splitlines(keepends=True)), []) if quoted else text.split(",")
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}") from None
    if len(fields) < len(columns):
        raise ValueError(
            f"'{columns[len(fields)]}' is missing: {len(fields)} fields, and the header has {len(columns)}"
        )
    return dict(zip(columns, fields, strict=False))
