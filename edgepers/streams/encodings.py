"""Text that is not UTF-8, as UTF-8 in memory: UTF-16 with and without a mark, old Macintosh line ends, and by name."""

import codecs
import io
from typing import BinaryIO

from edgepers.errors import StreamError

__all__ = ["MAX_BYTES", "decoder_of", "encoding_of", "recoded", "recoded_pipe"]

MAX_BYTES = 512 << 20  # of a file that has to be held in memory
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
)  # fmt: skip


def decoder_of(encoding: str, name: str) -> codecs.CodecInfo:
    """The codec of an encoding by its name.

    Raises:
        StreamError: there is none of that name, or it is none of text.
    """
    try:
        codec = codecs.lookup(encoding)
    except (LookupError, ValueError):
        codec = None
    if codec is None or not getattr(codec, "_is_text_encoding", True):
        raise StreamError(f"stream {name}: --encoding {encoding[:40]!r} is unknown; give utf-8, latin-1, cp1252, ...")
    return codec


def encoding_of(head: bytes) -> str | None:
    """The encoding of a file that begins like this; None where it is UTF-8, or cannot be told."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    for encoding, words, zeros in (("utf-16-le", head[0:4:2], head[1:4:2]), ("utf-16-be", head[1:4:2], head[0:4:2])):
        if zeros == b"\0\0" and all(sign in b"\t\n\r" or 32 <= sign < 127 for sign in words):
            return encoding
    return None


def recoded(file: BinaryIO, encoding: str, name: str) -> bytes:
    """A whole file as UTF-8 with line ends that are one character.

    Raises:
        StreamError: it is too large, or not in this encoding.
    """
    decoder_of(encoding, name)
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise StreamError(f"stream {name}: over {MAX_BYTES >> 20} MiB of text that is not UTF-8; save it as UTF-8")
    try:
        text = data.decode(encoding)
    except (UnicodeError, LookupError) as error:
        where = f" at byte {error.start + 1}" if isinstance(error, UnicodeDecodeError) else ""
        raise StreamError(f"stream {name}: not {encoding}{where}; give another --encoding") from None
    text = text.removeprefix("\ufeff")
    if "\r" in text and "\n" not in text:
        text = text.replace("\r", "\n")
    return text.encode("utf-8", "surrogatepass")


class _Pipe(io.RawIOBase):
    """What comes through a pipe, as UTF-8, as soon as it comes."""

    def __init__(self, file: BinaryIO, encoding: str, name: str) -> None:
        self._file = file
        self._name = name
        self._encoding = encoding
        self._decoder = decoder_of(encoding, name).incrementaldecoder()
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        read = getattr(self._file, "read1", self._file.read)
        while not self._rest:
            data = read(1 << 16)
            try:
                self._rest = self._decoder.decode(data, final=not data).encode("utf-8", "surrogatepass")
            except UnicodeError:
                raise StreamError(f"stream {self._name}: not {self._encoding}; give another --encoding") from None
            if not data:
                break
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def recoded_pipe(file: BinaryIO, encoding: str, name: str) -> BinaryIO:
    """A pipe whose text is in this encoding, as UTF-8.

    Raises:
        StreamError: the encoding is unknown; on reading, the text is not in it.
    """
    return io.BufferedReader(_Pipe(file, encoding, name))
