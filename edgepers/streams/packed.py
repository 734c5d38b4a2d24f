"""A .gz or .zip of an export, opened in memory within limits: nothing is written, and nothing unpacks without end."""

import gzip
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from edgepers.errors import StreamError

__all__ = ["Member", "is_packed", "unpacked"]

MAX_BYTES = 512 << 20  # of all that is unpacked
MAX_RATIO = 200  # of unpacked to packed; text packs to a tenth, seldom to a fiftieth
_FREE_BYTES = 1 << 20  # that may be unpacked whatever the ratio
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_TEXTS = {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt"}
_MOST_MEMBERS = 20_000


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive, unpacked; `name` is its path there."""

    name: str
    data: bytes


def is_packed(head: bytes) -> bool:
    """Whether a file that begins like this is a .gz or .zip."""
    return head.startswith((_GZIP, _ZIP, _EMPTY_ZIP))


def unpacked(path: Path) -> tuple[list[Member], list[str]]:
    """The texts of a packed file, and the names of what else is in it.

    Raises:
        StreamError: it is damaged, encrypted, or unpacks to too much.
    """
    name = str(path)
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            if file.read(2) == _GZIP:
                file.seek(0)
                with gzip.GzipFile(fileobj=file) as inner:
                    data = _bounded(inner, size, 0, name)
                if is_packed(data[:4]):
                    raise StreamError(f"stream {name}: packed twice; unpack it and give the file inside")
                return [Member("", data)], []
            file.seek(0)
            return _members(file, size, name)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        what = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise StreamError(f"stream {name}: cannot be unpacked ({what}); fetch it again or unpack it") from None


def _members(file: BinaryIO, size: int, name: str) -> tuple[list[Member], list[str]]:
    members: list[Member] = []
    others: list[str] = []
    held = 0
    with zipfile.ZipFile(file) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > _MOST_MEMBERS:
            raise StreamError(f"stream {name}: {len(entries)} files in one archive; unpack it and give one of them")
        for entry in sorted(entries, key=lambda entry: entry.filename):
            if PurePosixPath(entry.filename).suffix.lower() not in _TEXTS or "__MACOSX" in entry.filename:
                others.append(entry.filename)
                continue
            if entry.flag_bits & 1:
                raise StreamError(f"stream {name}: encrypted; unpack it with its password and give the file inside")
            with archive.open(entry) as inner:
                data = _bounded(inner, size, held, name)
            held += len(data)
            members.append(Member(entry.filename, data))
    return members, others


def _bounded(inner: IO[bytes] | gzip.GzipFile, packed: int, held: int, name: str) -> bytes:
    """All of a packed file, with `held` bytes unpacked before it."""
    most = min(MAX_BYTES, max(_FREE_BYTES, packed * MAX_RATIO)) - held
    data = inner.read(most + 1)
    if len(data) > most:
        raise StreamError(
            f"stream {name}: unpacks to over {(most + held) >> 20} MiB, from {packed} bytes; unpack it yourself and"
            " give the file inside"
        )
    return data
