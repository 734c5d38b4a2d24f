"""Streams of Hugging Face data sets, read record by record as they come over the network."""

import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgepers.errors import StreamError, first_line
from edgepers.streams.framing import Record
from edgepers.streams.reading import Reading, no_log
from edgepers.streams.types import Arrival, Cursor, OnWarning

__all__ = ["HubStream", "is_hub_name"]

_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?::([\w.\[\]%-]+))?")
_FILES = {".json", ".jsonl", ".ndjson", ".txt", ".csv", ".tsv", ".parquet", ".gz", ".zst", ".zip"}


def is_hub_name(source: str) -> bool:
    """Whether a stream that is no file reads like `owner/name` or `owner/name:split`."""
    match = _NAME.fullmatch(source)
    if match is None or source.startswith((".", "-")) or Path(source).exists():
        return False
    path = Path(match[1])
    return path.suffix.lower() not in _FILES and not path.parent.is_dir()  # a slip in a path is not a name


class HubStream:
    """A data set by its Hub name, `owner/name` or `owner/name:split` (split `train` by default).

    Raises:
        StreamError: the extra is not installed; on reading, the data set cannot be had.
    """

    live = False

    def __init__(self, source: str, form: str | None = None, log: Callable[[str], None] = no_log) -> None:
        match = _NAME.fullmatch(source)
        assert match is not None
        self.name = source
        self._reading = Reading(source, form, log)
        self.fingerprint: str | None = hashlib.sha256(f"{match[1]}:{match[2] or 'train'}".encode()).hexdigest()[:32]
        self._source, self._split = match[1], match[2] or "train"
        if find_spec("datasets") is None:
            raise StreamError(
                f"stream {source}: no such file; to read the Hugging Face data set, pip install 'edgepers[hub]'"
            )

    @functools.cached_property
    def _rows(self) -> Any:
        import datasets

        never: dict[str, Any] = {}
        if "trust_remote_code" in inspect.signature(datasets.load_dataset).parameters:  # before 4, which runs no code
            never["trust_remote_code"] = False  # nor is the user asked, on an input that may be something else
        try:
            return datasets.load_dataset(self._source, split=self._split, streaming=True, **never)
        except Exception as error:  # its errors have no common base: network, log-in, names, formats
            first = first_line(error)
            cure = "check name and split, be online, and log in if it is gated (hf auth login)"
            raise StreamError(f"stream {self.name}: {first}; {cure}") from error

    def read(self, start: Cursor, on_warning: OnWarning) -> Iterator[Arrival]:
        """Yield sets from a cursor on; see `Stream.read`."""
        return self._read(start, on_warning, None)

    def _read(self, start: Cursor, on_warning: OnWarning, log: Callable[[str], None] | None) -> Iterator[Arrival]:
        if start.offset and self._reading.form is None:
            self._reading.detect_in(self._records(Cursor()))
        yield from self._reading.arrivals(self._records(start), start, on_warning, log)

    def _records(self, start: Cursor) -> Iterator[Record]:
        for i, row in enumerate(self._rows.skip(start.offset) if start.offset else self._rows, start.offset):
            yield Record(i, i, i + 1, i + 1, functools.partial(_same, row), f": record {i + 1}")

    def reference_at(self, here: Cursor) -> str | None:
        """See `Stream.reference_at`: reads up to the record again."""
        found = next(self._read(here, no_log, no_log), None)
        if found is None or (found.here.offset, found.here.turn) != (here.offset, here.turn):
            raise StreamError(f"stream {self.name}: changed at record {here.line + 1} since it was read")
        return found.dialogue.reference


def _same(row: object) -> object:
    return row
