"""What a reader has left out or assumed: one line a kind, with a count."""

import re
from collections import Counter
from collections.abc import Iterator

__all__ = ["Complaints", "Notes"]

_PLACE = re.compile(r"^.*?(?::\d+|: record \d+)(?=: )")  # of a record in its stream, before what is wrong with it
_MOST_NAMED = 12


class Notes:
    """Counts kinds of what was left out or assumed; a kind is a line for people, without its number."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._columns: dict[str, None] = {}

    def not_read(self, column: str) -> None:
        """Note that a column is not understood."""
        self._columns[column[:40]] = None

    def add(self, kind: str, count: int = 1) -> None:
        """Note that something happened, so many times."""
        if count > 0:
            self._counts[kind] += count

    def left_out(self, what: str, count: int = 1) -> None:
        """Note that something was left out."""
        self.add(f"left out: {what}", count)

    def lines(self) -> Iterator[str]:
        """Each kind once, in the order in which they were first met."""
        for kind, count in self._counts.items():
            yield kind if count == 1 else f"{kind} ({count} times)"
        if self._columns:
            named, more = list(self._columns)[:_MOST_NAMED], len(self._columns) - _MOST_NAMED
            yield f"columns that are not read: {', '.join(named)}" + (f", and {more} more" if more > 0 else "")


class Complaints:
    """Malformed records by what is wrong with them, and the first of each kind."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._first)

    @property
    def total(self) -> int:
        """How many records."""
        return self._counts.total()

    @property
    def first(self) -> str:
        """The first of all, "" where there is none."""
        return next(iter(self._first.values()), "")

    def add(self, message: str) -> None:
        """Take up one complaint about one record."""
        kind = re.sub(r"\d+", "#", _PLACE.sub("", message))
        self._first.setdefault(kind, message)
        self._counts[kind] += 1

    def lines(self) -> Iterator[str]:
        """Each kind once: its first record, and how many others are like it."""
        for kind, message in self._first.items():
            more = self._counts[kind] - 1
            yield message if not more else f"{message} (and {more} more like it)"
