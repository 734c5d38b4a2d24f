"""Turn records into dialogue sets: find the form, split conversations, keep the cursor, warn and go on."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from edgepers.errors import StreamError
from edgepers.streams.forms import FORMS, Form, detect
from edgepers.streams.framing import Record
from edgepers.streams.types import Arrival, Cursor, OnWarning

__all__ = ["Reading", "no_log"]

_MOST_IN_GROUP = 64  # rows of one conversation that are held at once; it bounds what a key that never changes can cost


def no_log(_: str) -> None:
    """A note that nobody wants to hear."""


class Reading:
    """What a stream has learnt of its records' form.

    Args:
        name: of the stream, for messages.
        form: forced by name; None detects it from the first record that has the fields of one.
        log: gets one line about the detected form, unless it is edgepers' own.
    """

    def __init__(self, name: str, form: str | None = None, log: Callable[[str], None] = no_log) -> None:
        if form is not None and form not in FORMS:
            raise StreamError(f"--format {form!r} is unknown; choose {', '.join(FORMS)}, or leave it out to detect it")
        self._name = name
        self._forced = form
        self._log = log
        self._form = None if form is None else FORMS[form]
        self._checked = False

    @property
    def form(self) -> Form | None:
        """The form, once it is known."""
        return self._form

    def _form_of(self, value: object, place: str) -> tuple[Form, dict[str, Any]]:
        """The form to read a record by, and the record.

        Raises:
            ValueError: it is no object, or none of a known form.
            StreamError: the forced form does not fit the first record, and another does.
        """
        found = detect(value)
        if not isinstance(value, dict):
            field = (
                "'question'"
                if self._form is None or self._form.name == "question"
                else f"the fields of {self._form.name}"
            )
            raise ValueError(f"a {type(value).__name__} where an object with {field} belongs")
        if self._form is None:
            if found is None:
                fields = ", ".join(list(value)[:6])[:80] or "none"
                raise ValueError(f"'question' is missing, and no known form has the fields that are there ({fields})")
            self._form = found
            if found.name != "question":
                self._log(f"stream {self._name}: read as {found.name} ({found.says})")
        elif self._forced and not self._checked and found is not None and not self._form.matches(value):
            try:
                self._form.sets(value, ())
            except ValueError as error:
                raise StreamError(
                    f"{self._name}{place}: {error}, which --format {self._forced} needs; the record has the form"
                    f" {found.name}"
                ) from None
        self._checked = True
        return self._form, value

    def detect_in(self, records: Iterator[Record]) -> None:
        """Find the form from a stream's beginning, without a word, before reading goes on in its middle."""
        log, self._log = self._log, no_log
        try:
            for record in records:
                try:
                    self._form_of(record.parse(), record.place)
                except ValueError:
                    continue
                return
        finally:
            self._log = log

    def arrivals(self, records: Iterator[Record], start: Cursor, on_warning: OnWarning) -> Iterator[Arrival]:
        """The sets of records that begin at `start`, whose first `turn` sets are passed over.

        A record that is malformed anywhere gives no set at all, so its sets need no second look.
        """
        group, invalid = start, start.invalid  # group: the cursor of the conversation that is being read
        earlier: list[dict[str, Any]] = []
        key: object = None
        given = 0
        for record in records:
            try:
                form, value = self._form_of(record.parse(), record.place)
                own_key = form.key(value) if form.key is not None else None
                joins = own_key is not None and own_key == key and len(earlier) < _MOST_IN_GROUP
                sets = form.sets(value, earlier if joins else ())
            except ValueError as error:
                invalid += 1
                on_warning(f"{self._name}{record.place}: {error}")
                continue
            if not joins:
                group = Cursor(record.offset, record.line, invalid)
                earlier, key, given = [], own_key, 0
            if own_key is not None:
                earlier.append(value)
            for i, dialogue in enumerate(sets, given):
                if group.offset == start.offset and i < start.turn:
                    continue
                done = own_key is None and i == len(sets) - 1
                after = Cursor(record.end, record.end_line, invalid) if done else replace(group, turn=i + 1)
                yield Arrival(dialogue, replace(group, turn=i), after)
            given += len(sets)
