"""Turn records into dialogue sets: find the form, split conversations, keep the cursor, warn and go on."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from edgepers.errors import StreamError
from edgepers.streams.form import Form, JsonObject, Way
from edgepers.streams.forms import FORMS, as_record, detect, inner_records, may_hold_records
from edgepers.streams.framing import Record
from edgepers.streams.json_values import NotJson, Values
from edgepers.streams.types import Arrival, Cursor, DialogueSet, OnWarning

__all__ = ["Reading", "no_log"]

_MOST_IN_GROUP = 256  # rows of one conversation that are held at once, where it may be cut
_MOST_UNREAD = 25  # lines at a stream's beginning of which none is JSON: it is something else
_GIVE = "give JSON Lines with 'question', a table whose header names its columns, or a chat program's export"
_MOST_ROWS = 4096  # and where it may not


Item = tuple[Form, JsonObject]
Items = Sequence[Item | ValueError]  # of one record; each that is malformed is an error


def no_log(_: str) -> None:
    """A note that nobody wants to hear."""


@dataclass(slots=True)
class _Group:
    """Rows of one conversation that stand one after another, and where they begin."""

    form: Form
    key: object
    here: Cursor
    place: str
    rows: list[JsonObject] = field(default_factory=list)

    def takes(self, form: Form, key: object, row: JsonObject) -> bool:
        full = len(self.rows) >= (_MOST_IN_GROUP if form.begins(row) else _MOST_ROWS)
        return form is self.form and key == self.key and not full


class Reading:
    """What a stream has learnt of its records' form.

    Args:
        name: of the stream, for messages.
        form: forced by name; None detects it record by record.
        log: gets a line about each form that was detected, unless it is edgepers' own, and at the end of reading one
            about each kind of what was left out.
        me: the owner's name in chats between people.
    """

    def __init__(
        self, name: str, form: str | None = None, log: Callable[[str], None] = no_log, me: str | None = None
    ) -> None:
        if form is not None and form not in FORMS:
            raise StreamError(f"--format {form!r} is unknown; choose {', '.join(FORMS)}, or leave it out to detect it")
        self._name = name
        self._forced = form
        self._log = log
        self._me = me
        self._form = None if form is None else FORMS[form]
        self._said = {"question"}  # forms that need no word any more
        self._checked = False

    @property
    def form(self) -> Form | None:
        """The form of the first record that has one, once it is known."""
        return self._form

    def _form_of(self, value: object, found: Form | None, place: str) -> tuple[Form, JsonObject]:
        """The form to read a record by, and the record.

        `found` is the form that it was detected to have.

        Raises:
            ValueError: it is no object, or none of a known form.
            StreamError: the forced form does not fit the first record, and another does.
        """
        if not isinstance(value, dict):
            own = self._form is None or self._form.name == "question"
            fields = "'question'" if self._form is None or own else f"the fields of {self._form.name}"
            raise ValueError(f"a {type(value).__name__} where an object with {fields} belongs")
        if self._forced is not None and self._form is not None:
            if not self._checked and found is not None and not self._form.matches(value):
                self._refuse(self._form, value, place, found)
            self._checked = True
            return self._form, value
        if found is None and self._form is None:
            fields = ", ".join(list(value)[:6])[:80] or "none"
            raise ValueError(f"'question' is missing, and no known form has the fields that are there ({fields})")
        form = found or self._form
        assert form is not None
        self._form = self._form or form
        if form.name not in self._said:
            self._said.add(form.name)
            self._log(f"stream {self._name}: read as {form.name} ({form.says})")
        return form, value

    def _refuse(self, form: Form, value: JsonObject, place: str, found: Form) -> None:
        try:
            if form.key is not None:
                form.key(value)
            form.sets({"rows": [value]} if form.key is not None else value, Way(self._me))
        except (ValueError, KeyError) as error:
            missing = error if isinstance(error, ValueError) else f"'{error.args[0]}' is missing"
            raise StreamError(
                f"{self._name}{place}: {missing}, which --format {self._forced} needs; the record has the form"
                f" {found.name}"
            ) from None

    def detect_in(self, records: Iterator[Record]) -> None:
        """Find the form from a stream's beginning, without a word, before reading goes on in its middle."""
        log, self._log = self._log, no_log
        try:
            for record in records:
                for item in self._items(record):
                    if not isinstance(item, ValueError):
                        return
        finally:
            self._log = log

    def _items(self, record: Record) -> list[Item | ValueError]:
        """What a record holds: one value with its form, or several, of which each malformed one is an error."""
        try:
            value = record.parse()
        except ValueError as error:
            return [error]
        values = value.values if isinstance(value, Values) else (value,)
        items: list[Item | ValueError] = []
        for one in map(as_record, values):
            found = detect(one)
            for held in self._inner(one, found) or [one]:
                try:
                    if isinstance(held, ValueError):
                        raise held
                    items.append(self._form_of(held, found if held is one else detect(held), record.place))
                except ValueError as error:
                    items.append(error)
        return items

    def _inner(self, value: object, found: Form | None) -> Sequence[object]:
        """The records that a file's one object holds, unless it is a record of the form that is forced."""
        if found is not None and not may_hold_records(found):
            return ()
        fits = self._form is not None and isinstance(value, dict) and self._form.matches(value)
        return () if self._forced is not None and fits else inner_records(value)

    def arrivals(
        self, records: Iterator[Record], start: Cursor, on_warning: OnWarning, log: Callable[[str], None] | None = None
    ) -> Iterator[Arrival]:
        """The sets of records that begin at `start`, whose first `turn` sets are passed over.

        A record that is malformed anywhere gives no set at all, so its sets need no second look. What was left out is
        told to `log` when reading ends, whether the records did or not.
        """
        way = Way(self._me)
        arriving = _Arriving(self._name, start, on_warning, way)
        try:
            yield from arriving.arrivals((record, self._items(record)) for record in records)
        finally:
            for line in way.notes.lines():
                (self._log if log is None else log)(f"stream {self._name}: {line}")


class _Arriving:
    """One reading of a stream from a cursor on: its complaints, and the rows that are not a conversation yet."""

    def __init__(self, name: str, start: Cursor, on_warning: OnWarning, way: Way) -> None:
        self._name = name
        self._start = start
        self._on_warning = on_warning
        self._way = way
        self._invalid = start.invalid
        self._group: _Group | None = None

    def arrivals(self, read: Iterable[tuple[Record, Items]]) -> Iterator[Arrival]:
        """The sets of records, each with what it holds."""
        for record, items in self._from_the_first_json(read):
            row = _only_row(items)
            yield from self._whole(record, items) if row is None else self._row(record, *row)
        yield from self._end_of_group()

    def _complain(self, place: str, error: ValueError) -> None:
        self._invalid += 1
        self._on_warning(f"{self._name}{place}: {error}")

    def _from_the_first_json(self, read: Iterable[tuple[Record, Items]]) -> Iterator[tuple[Record, Items]]:
        """The same; a stream of which nothing at the beginning is JSON is something else, and no line of it is read.

        Raises:
            StreamError: it is.
        """
        unread: list[tuple[str, ValueError]] = []
        found = bool(self._start.offset)
        for record, items in read:
            if not found and isinstance(items[0], NotJson):
                unread.append((record.place, items[0]))
                if len(unread) > _MOST_UNREAD:
                    raise StreamError(f"stream {self._name}: no JSON in its first {len(unread)} lines; {_GIVE}")
                continue
            found = True
            while unread:
                self._complain(*unread.pop(0))
            yield record, items
        for place, error in unread:
            self._complain(place, error)

    def _row(self, record: Record, form: Form, value: JsonObject) -> Iterator[Arrival]:
        """A row joins its conversation, or ends the one before."""
        try:
            key = form.key(value) if form.key is not None else None
        except ValueError as error:
            self._complain(record.place, error)
            return
        if self._group is None or not self._group.takes(form, key, value):
            yield from self._end_of_group()
            here = Cursor(record.offset, record.line, self._invalid)
            self._group = _Group(form, key, here, record.place)
        self._group.rows.append(value)

    def _end_of_group(self) -> Iterator[Arrival]:
        group, self._group = self._group, None
        if group is None:
            return
        try:
            sets = group.form.sets({"rows": group.rows}, self._way)
        except ValueError as error:
            self._complain(group.place, error)
            return
        for i, dialogue in enumerate(sets):
            if group.here.offset != self._start.offset or i >= self._start.turn:
                yield Arrival(dialogue, replace(group.here, turn=i), replace(group.here, turn=i + 1))

    def _whole(self, record: Record, items: Items) -> Iterator[Arrival]:
        here = Cursor(record.offset, record.line, self._invalid)
        sets, errors = _sets_in(items, self._way)
        for error in errors:
            self._complain(record.place, error)
        if sets:
            yield from self._end_of_group()
        for i, dialogue in enumerate(sets):
            if here.offset == self._start.offset and i < self._start.turn:
                continue
            done = i == len(sets) - 1
            after = Cursor(record.end, record.end_line, self._invalid) if done else replace(here, turn=i + 1)
            yield Arrival(dialogue, replace(here, turn=i), after)


def _only_row(items: Items) -> Item | None:
    """The row of a conversation that a record is, if it is one."""
    (item,) = items if len(items) == 1 else (None,)
    return item if isinstance(item, tuple) and item[0].key is not None else None


def _sets_in(items: Items, way: Way) -> tuple[list[DialogueSet], list[ValueError]]:
    """The sets of all that a record holds, and what is malformed in it; its rows are one conversation."""
    sets: list[DialogueSet] = []
    errors = [item for item in items if isinstance(item, ValueError)]
    rows: dict[str, list[JsonObject]] = {}
    for item in items:
        if isinstance(item, ValueError):
            continue
        form, value = item
        try:
            if form.key is None:
                sets += form.sets(value, way)
            else:
                form.key(value)
                rows.setdefault(form.name, []).append(value)
        except ValueError as error:
            errors.append(error)
    for name, found in rows.items():
        try:
            sets += FORMS[name].sets({"rows": found}, way)
        except ValueError as error:
            errors.append(error)
    return sets, errors
