"""The dialogue sets kept, on disk, sealed, inside a budget of bytes that holds at every moment.

Every decision is one transaction together with the stream's position: durable before it is acknowledged.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgepers.errors import BudgetError, StateError
from edgepers.privacy.keyring import KeySource
from edgepers.privacy.sealer import OVERHEAD_BYTES, DamagedError
from edgepers.state.database import JOURNAL_PAGE_BYTES, PAGE_BYTES, SCHEMA_VERSION, Database
from edgepers.state.records import CenterSum, KeptSet, Progress, pack_record, unpack_record
from edgepers.state.sealed_rows import SealedRows

__all__ = ["Buffer"]

_ROW_OVERHEAD = 16  # of a row: its header, position and key, at most
_LAST_PAGES = 4  # the first page and those of the progress join the journal at commit, at most
# Of a commit: journal twice, file, emptied journal; and one for the folder where the journal was opened for it
# (tests/state/test_wear.py).
_FSYNCS = 4


class Buffer:
    """The kept sets of one state folder; one writer at a time, readers wait at most 5 s.

    Args:
        folder: the state folder; `buffer.db` is made in it.
        storage_bytes: the budget; None opens for reading only.
        keys: where the key ring lies.
        batch: admissions that may share one commit; `flush` ends one early, as does a journal whose share is full.
        quarantine: set records aside that cannot be read, instead of an error.

    Attributes:
        progress: what the disk holds, and what was dropped after it.
        sealer: encrypts for this state.

    Raises:
        StateError: no buffer there, another writer, a damaged or newer file, a missing or wrong key.
        BudgetError: the budget is too small.
    """

    def __init__(
        self,
        folder: str | Path,
        storage_bytes: int | None = None,
        *,
        keys: KeySource | None = None,
        quarantine: bool = False,
        batch: int = 1,
    ) -> None:
        self.folder = Path(folder)
        self._batch = batch
        self._waiting = 0  # admissions that are not committed yet
        self._pages = 0  # of the file, when the open transaction began
        self._held = self._journal_open = False
        self._stored_center: CenterSum | None = None
        self._db = Database(self.folder / "buffer.db", storage_bytes)
        try:
            self._open(keys or KeySource())
            if quarantine and storage_bytes is not None:
                self._set_damaged_aside()
        except sqlite3.OperationalError as error:
            self.close()
            raise self._db.explained(error) from None
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._db.unreadable(error) from None
        except BaseException:
            self.close()
            raise

    def _open(self, keys: KeySource) -> None:
        db = self._db
        if (
            not db.version
            and db.storage_bytes is not None
            and not db.run("SELECT count(*) FROM sqlite_master").fetchone()[0]
        ):
            SealedRows.create(db, keys)
        if db.version != SCHEMA_VERSION:
            raise StateError(
                f"{db.path}: schema {db.version}, this edgepers reads {SCHEMA_VERSION};"
                " update edgepers, or start a new state"
            )
        self._rows = SealedRows.open(db, keys)
        self.sealer = self._rows.sealer
        self.progress = self._load_progress()
        if db.storage_bytes is not None:
            self._set_limit()

    def _set_limit(self) -> None:
        center = 0 if self.progress.center is None else self.progress.center.total.nbytes + OVERHEAD_BYTES
        self._db.set_limit(center + _ROW_OVERHEAD, self._batch)

    def close(self) -> None:
        """Release file and lock."""
        self._db.close()

    def __enter__(self) -> "Buffer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- bytes

    @property
    def path(self) -> Path:
        """The database file."""
        return self._db.path

    @property
    def storage_bytes(self) -> int | None:
        """The budget; None where it is open for reading only."""
        return self._db.storage_bytes

    @property
    def max_record_bytes(self) -> int:
        """The largest row that is taken."""
        return self._db.max_record_bytes

    @staticmethod
    def row_bytes(kept: KeptSet | bytes) -> int:
        """Bytes of the row that holds a set, or its packed record."""
        return len(pack_record(kept) if isinstance(kept, KeptSet) else kept) + OVERHEAD_BYTES + _ROW_OVERHEAD

    def fits(self, row_bytes: int) -> bool:
        """Whether a row fits as things are: never too hopeful, so a commit never fails for space."""
        return self._db.fits(row_bytes)

    def room_for(self, row_bytes: int, order: Sequence[int] | npt.NDArray[np.int64]) -> int | None:
        """How many sets, in the given order of positions, must leave until a row fits; None where all are not enough.

        Exact: they are deleted in a transaction that is rolled back. An order that would outgrow the journal's room is
            not enough.
        """
        if self.fits(row_bytes):
            return 0
        if not len(order):
            return None
        with self._db.rolled_back():
            for count, position in enumerate(order, 1):
                self._db.run("DELETE FROM kept WHERE position = ?", (int(position),))
                if not self._db.journal_allows(row_bytes):
                    return None
                if self.fits(row_bytes):
                    return count
        return None

    def disk_bytes(self) -> int:
        """Sum of the sizes of the buffer's files."""
        return self._db.disk_bytes()

    def payload_bytes(self) -> int:
        """Of these, what the kept sets themselves are: scores, compressed embedding and text."""
        overhead = OVERHEAD_BYTES
        return int(self._db.run(f"SELECT coalesce(sum(length(data) - {overhead}), 0) FROM kept").fetchone()[0])

    def wear(self) -> dict[str, int]:
        """Commits so far, the bytes they wrote to the buffer's files, and the fsyncs they asked of the disk."""
        progress = self.progress
        return {
            "commits": progress.commits,
            "written_bytes": progress.written_bytes,
            "fsyncs": progress.fsyncs,
        }

    # -- transactions

    def _load_progress(self) -> Progress:
        progress = self._rows.progress()
        self._stored_center = progress.center  # drops advance the progress without a write, and its center with it
        return progress

    @contextlib.contextmanager
    def _transaction(self, progress: Progress | None = None) -> Iterator[None]:
        """Commit together with the new progress, or roll back, also on KeyboardInterrupt; `self.progress` is what the disk holds."""
        self.flush()
        new = self.progress.copy() if progress is None else progress
        with self._or_nothing():
            self._begin()
            yield
            self._commit(new)

    @contextlib.contextmanager
    def _or_nothing(self) -> Iterator[None]:
        """Roll back whatever is open when something fails."""
        try:
            yield
        except BaseException as error:
            if self._db.in_transaction:
                self._db.run("ROLLBACK")
            self._waiting = 0
            self.progress = self._load_progress()  # an interrupt may have come just after the commit: the disk knows
            if isinstance(error, sqlite3.OperationalError):
                raise self._db.explained(error) from None
            raise

    def _begin(self) -> None:
        self._pages = self._db.pragma("page_count")
        self._db.run("BEGIN IMMEDIATE")

    def _commit(self, new: Progress) -> None:
        db = self._db
        if new.center is not self._stored_center and new.center is not None:
            self._rows.write_center(new.center)
        journal, pages = db.journal_bytes(), db.pragma("page_count")
        new.peak_bytes = max(new.peak_bytes, pages * PAGE_BYTES + journal + _LAST_PAGES * JOURNAL_PAGE_BYTES)
        new.commits += 1
        new.fsyncs += _FSYNCS if self._journal_open else _FSYNCS + 1
        saved = journal + (_LAST_PAGES - 1) * JOURNAL_PAGE_BYTES
        new.written_bytes += (
            2 * saved + max(pages - self._pages, 0) * PAGE_BYTES
        )  # each page that the journal saves is written again
        self._rows.write_progress(new)
        db.run("COMMIT")
        self.progress, self._stored_center, self._waiting = new, new.center, 0
        self._journal_open = self._held

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let no reader in for a while, such as a micro-batch: commits then make four fsyncs, not five, but for the first."""
        with self._db.held():
            self._held = True
            try:
                yield
            finally:
                self._held = self._journal_open = False

    @property
    def waiting(self) -> int:
        """Admissions that are not durable yet."""
        return self._waiting

    def flush(self) -> None:
        """Make what waits durable."""
        if self._waiting:
            with self._or_nothing():
                self._commit(self.progress.copy())

    def save(self, progress: Progress) -> None:
        """Make progress durable by itself: at exit, and when a round ends."""
        with self._transaction(progress):
            pass

    def start(self, identity: dict[str, str], hidden_size: int) -> None:
        """Remember what a new buffer is made with, and reserve the center's room."""
        new = self.progress.copy()
        new.center = CenterSum(0, 0, np.zeros(hidden_size, dtype=np.float32))
        with self._transaction(new):
            for item in identity.items():
                self._db.run("INSERT OR REPLACE INTO identity VALUES (?, ?)", item)
        self._set_limit()

    def identity(self) -> dict[str, str]:
        """What this buffer was made with: model, seed, lexicons; empty for a new one."""
        return dict(self._db.run("SELECT key, value FROM identity WHERE key != 'state'"))

    # -- kept sets

    def admit(self, kept: KeptSet, evict: Sequence[int], progress: Progress, packed: bytes | None = None) -> None:
        """Keep a set, let others go, and note the position, in one transaction: durable when `waiting` is 0.

        Args:
            kept: the set.
            evict: positions of those that go.
            progress: after it.
            packed: `pack_record` of the set, where it is known already.
        """
        progress.admitted += 1
        progress.count_admission(kept.position)
        with self._or_nothing():
            if not self._waiting:
                self._begin()
            self._evict(evict, progress)
            self._insert(kept, packed)
            self._waiting += 1
            self.progress = progress
            if self._waiting >= self._batch or self._db.batch_is_full():
                self._commit(progress)

    def replace(self, kept: KeptSet, evict: Sequence[int], progress: Progress) -> None:
        """Keep a changed version of a kept set, such as an annotated one, and let others go to make room."""
        with self._transaction(progress):
            self._evict(evict, progress)
            self._db.run("DELETE FROM kept WHERE position = ?", (kept.position,))
            self._insert(kept)

    def forget(self, positions: Sequence[int], progress: Progress) -> None:
        """Delete sets on their owner's wish, some at a time; `rotate` then makes what their pages held unreadable for ever."""
        left = list(positions)
        progress.retired_key = self.sealer.key
        while left:
            with self._transaction(progress):
                while left and self._db.journal_allows(0):
                    self._delete(left.pop())
                    progress.forgotten += 1
            progress = self.progress.copy()

    def add_key(self) -> None:
        """Seal with a newer key than the retired one from now on."""
        if self.sealer.key <= self.progress.retired_key:
            self.sealer.add_key()

    def rotate(self) -> None:
        """Seal everything with a new key, some at a time, and destroy the old ones; goes on where it was interrupted."""
        retired = self.progress.retired_key
        if not retired:
            return
        self.add_key()
        while old := self._db.run("SELECT position FROM kept WHERE key <= ?", (retired,)).fetchall():
            with self._transaction():
                for (position,) in old:
                    if not self._db.journal_allows(self.max_record_bytes):
                        break
                    self._reseal(position)
        new = self.progress.copy()
        new.retired_key = 0
        with self._transaction(new):
            self._db.run("DELETE FROM damaged WHERE key <= ?", (retired,))
            self._rows.write_check()
            if new.center is not None:
                self._rows.write_center(new.center)
        self.sealer.drop_keys(older_than=retired + 1)

    def _reseal(self, position: int) -> None:
        (key, data) = self._db.run("SELECT key, data FROM kept WHERE position = ?", (position,)).fetchone()
        values = (self.sealer.key, self.sealer.seal(self._opened(position, key, data), f"set {position}"), position)
        self._db.run("UPDATE kept SET key = ?, data = ? WHERE position = ?", values)

    def mark_asked(self, position: int, round_number: int) -> bool:
        """Remember that the owner was asked about a set; False where its row, which may grow by a few bytes, finds no room any more."""
        packed = pack_record(replace(self.get(position), asked=round_number))
        try:
            with self._transaction():
                self._delete(position)
                self._put(
                    position, self.sealer.seal(packed, f"set {position}")
                )  # the file's own limit judges: `fits` is too careful here
        except BudgetError:
            return False
        return True

    def shrink(self, order: Sequence[int]) -> None:
        """Come down to a smaller budget in small steps, sets leaving in the given order of positions: each step's journal is small."""
        left = iter(order)
        while self._db.free_pages() < 0 and (position := next(left, None)) is not None:
            new = self.progress.copy()
            with self._transaction(new):
                self._evict([position], new)
        self._db.vacuum()

    @property
    def over_budget(self) -> bool:
        """Whether the budget was made smaller than what is kept."""
        return self._db.free_pages() < 0 or self._db.pragma("page_count") > self._db.max_pages

    def _evict(self, positions: Sequence[int], progress: Progress) -> None:
        progress.evicted += len(positions)
        for position in positions:
            self._delete(position)

    def _delete(self, position: int) -> None:
        if self._db.run("DELETE FROM kept WHERE position = ?", (int(position),)).rowcount != 1:
            raise StateError(
                f"{self.path}: set {position} was to leave but is not there; run 'edgepers status' and report this"
            )

    def _insert(self, kept: KeptSet, packed: bytes | None = None) -> None:
        sealed = self.sealer.seal(pack_record(kept) if packed is None else packed, f"set {kept.position}")
        if not self.fits(len(sealed) + _ROW_OVERHEAD):
            raise BudgetError(
                f"{self.path}: set {kept.position} does not fit after what was evicted; a policy must evict more, or"
                " return None"
            )
        self._put(kept.position, sealed)

    def _put(self, position: int, sealed: bytes) -> None:
        self._db.run("INSERT INTO kept VALUES (?, ?, ?)", (position, self.sealer.key, sealed))

    def get(self, position: int) -> KeptSet:
        """One kept set by its position."""
        found = list(self._select("WHERE position = ?", (position,)))
        if not found:
            raise StateError(f"{self.path}: set {position} is not in the buffer")
        return found[0]

    def __iter__(self) -> Iterator[KeptSet]:
        """All kept sets in order of arrival."""
        return self._select("ORDER BY position", ())

    def __len__(self) -> int:
        return int(self._db.run("SELECT count(*) FROM kept").fetchone()[0])

    def domains(self) -> dict[str, int]:
        """Kept sets by domain, the fullest first."""
        counts: dict[str, int] = {}
        for kept in self:
            counts[kept.domain] = counts.get(kept.domain, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def _select(self, where: str, values: tuple[int, ...]) -> Iterator[KeptSet]:
        for position, key, data in self._db.run(f"SELECT position, key, data FROM kept {where}", values).fetchall():
            yield unpack_record(self._opened(position, key, data), position, len(data) + _ROW_OVERHEAD)

    def _opened(self, position: int, key: int, data: bytes) -> bytes:
        try:
            return self.sealer.open(data, f"set {position}", key)
        except DamagedError:
            raise StateError(
                f"{self.path}: set {position} is damaged; restore the state from a copy, or give --quarantine to set"
                " it aside"
            ) from None

    # -- trouble

    def _set_damaged_aside(self) -> None:
        """Move sets that do not open out of the way; they stay in the file until a key is rotated, and count as evicted."""
        for position, key, data in self._db.run("SELECT position, key, data FROM kept").fetchall():
            try:
                self.sealer.open(data, f"set {position}", key)
            except DamagedError:
                new = self.progress.copy()
                new.quarantined += 1
                with self._transaction(new):
                    self._evict([position], new)
                    self._db.run("INSERT OR REPLACE INTO damaged VALUES (?, ?, ?)", (position, key, data))

    def check(self) -> None:
        """SQLite's own integrity check, and that every set opens.

        Raises:
            StateError: names the first damage.
        """
        self._db.check()
        for _ in self:
            pass
