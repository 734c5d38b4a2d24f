"""The rows of the kept sets: sealed records, and beside each the mark that can be read without opening it."""

from collections.abc import Iterator
from dataclasses import replace

from edgepers.errors import StateError
from edgepers.privacy.sealer import OVERHEAD_BYTES, DamagedError, Sealer
from edgepers.state.database import Database
from edgepers.state.marks import Mark, Marks
from edgepers.state.records import KeptSet, remarked, unpack_record

__all__ = ["KeptRows", "row_bytes"]

_ROW_OVERHEAD = 16  # of a row: its header, key and mark, at most


def row_bytes(record: bytes) -> int:
    """Bytes of the row that holds a packed record."""
    return len(record) + OVERHEAD_BYTES + _ROW_OVERHEAD


class KeptRows:
    """Reads and writes single rows; transactions, and whether a row fits, are its caller's business.

    Each record is sealed together with the position and the mark of its row: a mark that somebody else has changed is a
    record that does not open.
    """

    def __init__(self, db: Database, sealer: Sealer) -> None:
        self._db = db
        self._sealer = sealer
        self._marks: Marks | None = None
        self._version = 0  # of the file that they were read from, where another process writes it

    @property
    def marks(self) -> Marks:
        """Return the marks of all rows.

        The writer reads them once and keeps them up; a reader reads them each time, as another process writes.
        """
        version = 0 if self._db.storage_bytes is not None else self._db.pragma("data_version")
        if self._marks is None or version != self._version:
            found = self._db.rows("SELECT position, asked, annotated, length(data) FROM kept ORDER BY position")
            self._marks = Marks((row[0], Mark(row[1], bool(row[2]), row[3] + _ROW_OVERHEAD)) for row in found)
            self._version = version
        return self._marks

    def forget_marks(self) -> None:
        """Read the marks again when they are next asked for: a transaction was rolled back."""
        self._marks = None

    # -- reading

    def read(self, where: str, values: tuple[int, ...] = ()) -> Iterator[KeptSet]:
        """The sets that a condition of SQL picks, in order of arrival."""
        columns = "position, key, asked, annotated, data"
        rows = self._db.rows(f"SELECT {columns} FROM kept WHERE {where} ORDER BY position", values)
        for position, key, asked, annotated, data in rows:
            mark = Mark(asked, bool(annotated), len(data) + _ROW_OVERHEAD)
            yield unpack_record(self._opened(position, mark, key, data), position, mark)

    def damaged(self) -> list[int]:
        """Positions of records that do not open."""
        found = []
        for position, key, asked, annotated, data in self._db.rows(
            "SELECT position, key, asked, annotated, data FROM kept"
        ):
            try:
                self._sealer.open(data, _name(position, asked, bool(annotated)), key)
            except DamagedError:
                found.append(position)
        return found

    def sealed_with(self, key: int) -> list[int]:
        """Positions of records sealed with this key or an older one."""
        return [row[0] for row in self._db.rows("SELECT position FROM kept WHERE key <= ?", (key,))]

    def _sealed(self, position: int) -> tuple[int, Mark, bytes]:
        """Number of the key, mark and sealed record of a set."""
        found = self._db.rows("SELECT key, asked, annotated, data FROM kept WHERE position = ?", (position,))
        if not found:
            raise StateError(f"{self._db.path}: set {position} is not in the buffer")
        ((key, asked, annotated, data),) = found
        return key, Mark(asked, bool(annotated), len(data) + _ROW_OVERHEAD), data

    def _opened(self, position: int, mark: Mark, key: int, data: bytes) -> bytes:
        try:
            return self._sealer.open(data, _name(position, mark.asked, mark.annotated), key)
        except DamagedError:
            raise StateError(
                f"{self._db.path}: set {position} is damaged; restore the state from a copy, or give --quarantine to"
                " set it aside"
            ) from None

    # -- writing

    def insert(self, kept: KeptSet, record: bytes) -> None:
        """Add a set, whose packed record is given."""
        self._insert(kept.position, Mark(kept.asked, kept.annotated, row_bytes(record)), record)

    def _insert(self, position: int, mark: Mark, record: bytes) -> None:
        sealed = self._sealer.seal(record, _name(position, mark.asked, mark.annotated))
        values = (position, self._sealer.key, mark.asked, int(mark.annotated), sealed)
        self._db.run("INSERT INTO kept VALUES (?, ?, ?, ?, ?)", values)
        if self._marks is not None:
            self._marks.put(position, mark)

    def delete(self, position: int) -> None:
        """Take a set away for good.

        Raises:
            StateError: it is not there.
        """
        self.take_out(position)
        if self._marks is not None:
            self._marks.drop(int(position))

    def take_out(self, position: int) -> None:
        """Delete the row of a set that is inserted again in the same transaction: its mark keeps its place meanwhile.

        Raises:
            StateError: it is not there.
        """
        if self._db.run("DELETE FROM kept WHERE position = ?", (int(position),)).rowcount != 1:
            raise StateError(
                f"{self._db.path}: set {position} was to leave but is not there; run 'edgepers status' and report this"
            )

    def seal_again(self, position: int, asked: int | None = None) -> None:
        """Seal a set with the newest key, and under another round of asking where one is given.

        Raises:
            StateError: it is not there, or damaged.
        """
        key, mark, data = self._sealed(position)
        record = self._opened(position, mark, key, data)
        self.take_out(position)  # first: a full file has no pages for both
        self._insert(position, mark if asked is None else replace(mark, asked=asked), record)

    def remarked(self, position: int, *, again: bool, doubted: bool) -> bytes | None:
        """A set's sealed record as it is after it was asked again, or doubted, as long as it was; None where it stays.

        Raises:
            StateError: it is not there, or damaged.
        """
        key, mark, data = self._sealed(position)
        if key != self._sealer.key or mark.stored_bytes > self._db.max_record_bytes:
            return None  # a number of a key may be longer than another; the journal has no room for a larger row
        before = self._opened(position, mark, key, data)
        record = remarked(before, again=again, doubted=doubted)
        if record == before:
            return None
        return self._sealer.seal(record, _name(position, mark.asked, mark.annotated))

    def overwrite(self, position: int, sealed: bytes) -> None:
        """Put a sealed record of the same length in place of a set's."""
        self._db.run("UPDATE kept SET data = ? WHERE position = ?", (sealed, position))

    def set_aside(self, position: int) -> None:
        """Move a row that does not open out of the way; it stays in the file until its key is destroyed."""
        ((key, data),) = self._db.rows("SELECT key, data FROM kept WHERE position = ?", (position,))
        self.delete(position)
        self._db.run("INSERT OR REPLACE INTO damaged VALUES (?, ?, ?)", (position, key, data))


def _name(position: int, asked: int, annotated: bool) -> str:
    """What a record is bound to."""
    return f"set {position} asked {asked} annotated {int(annotated)}"
