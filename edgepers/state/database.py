"""The SQLite file of a buffer, held inside its budget of bytes at every moment.

A rollback journal; pages are the smallest there are (512 bytes); the file may never grow past `max_pages`, and what is
left of the budget is room for the largest journal that one transaction can write.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgepers.config import MIN_STORAGE_BYTES, format_size
from edgepers.errors import BudgetError, BusyError, StateError, nothing_yet

__all__ = ["JOURNAL_PAGE_BYTES", "PAGE_BYTES", "SCHEMA_VERSION", "Database", "overflow_pages"]

SCHEMA_VERSION = 5
PAGE_BYTES = 512
JOURNAL_PAGE_BYTES = PAGE_BYTES + 8
_USABLE = PAGE_BYTES - 4  # of an overflow page
_LOCAL_MOST, _LOCAL_LEAST = (
    PAGE_BYTES - 35,
    (PAGE_BYTES - 12) * 32 // 255 - 23,
)  # sqlite.org/fileformat2.html, section 1.6
_TREE_PAGES = (
    8  # an insertion may split a leaf and each of its parents (four levels at 10,000 sets), and open a pointer-map page
)
_JOURNAL_TREE_PAGES = 28  # tree, free-list, pointer-map, progress and schema pages that one decision may touch
_JOURNAL_INSERT_PAGES = 12  # of those, what the insertion that ends a decision may add
_BATCH_PAGES = 12  # that a further admission of the same commit adds to the journal
_BATCH_SHARE = 8  # of the budget, what a batch's journal may take beside a single decision's
_BUSY_SECONDS = 5.0
_CHILD_SECONDS = 30.0  # in which a killed program's child, a GPU's memory with it, is gone
_VACUUM_PAGES = 8

SCHEMA = """
CREATE TABLE identity(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sealed(id INTEGER PRIMARY KEY, key INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE kept(
    position INTEGER PRIMARY KEY, key INTEGER NOT NULL, asked INTEGER NOT NULL, annotated INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE TABLE damaged(position INTEGER PRIMARY KEY, key INTEGER NOT NULL, data BLOB NOT NULL);
"""


def overflow_pages(row_bytes: int) -> int:
    """Pages of its own that a row of this size takes beside its place in a leaf."""
    if row_bytes <= _LOCAL_MOST:
        return 0
    local = _LOCAL_LEAST + (row_bytes - _LOCAL_LEAST) % _USABLE
    return -(-(row_bytes - (local if local <= _LOCAL_MOST else _LOCAL_LEAST)) // _USABLE)


class Database:
    """One SQLite connection with its locks and limits; one writing process at a time, readers wait at most 5 s.

    Threads may share it: every statement takes `lock`, and whoever makes a transaction of several holds it throughout.

    Args:
        path: the file; made where it is missing and `storage_bytes` is given.
        storage_bytes: the budget; None opens for reading only.

    Attributes:
        version: of the schema; 0 for a file that has none yet.
        max_pages: the file's limit, once `set_limit` has been called.
        lock: held by the thread whose transaction is open.

    Raises:
        StateError: no file there.
        BusyError: another writer.
        BudgetError: the budget is too small.
    """

    def __init__(self, path: Path, storage_bytes: int | None) -> None:
        self.path = path
        self.storage_bytes = storage_bytes
        self.max_pages = 0
        self.lock = threading.RLock()
        self._journal = path.with_name(path.name + "-journal")
        self._journal_budget = 0
        self._batch_bytes = 0
        self._lock: int | None = None
        if storage_bytes is None:
            if not path.is_file():
                raise nothing_yet(path.parent)
            # not mode=ro: what a killed writer left half done is rolled back by whoever comes next
            self._connection = self._connect(f"file:{quote(str(path))}?mode=rw", uri=True)
        else:
            if storage_bytes < MIN_STORAGE_BYTES:
                raise BudgetError(
                    f"storage of {format_size(storage_bytes)} is too small for a buffer; the least is"
                    f" {format_size(MIN_STORAGE_BYTES)}"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._connection = self._connect(str(path))
        try:
            self._configure()
            self.version = self.pragma("user_version")
        except sqlite3.OperationalError as error:
            self.close()
            raise self.as_user_error(error) from None
        except sqlite3.DatabaseError as error:
            self.close()
            raise self.unreadable(error) from None

    def _connect(self, path: str, *, uri: bool = False) -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, uri=uri, check_same_thread=False)

    def _take_lock(self) -> None:
        self._lock = os.open(self.path.with_name("buffer.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            self._lock = None
            raise BusyError(
                f"state {self.path.parent}: another edgepers process is working on it; wait for it, or stop it"
            ) from None
        self._wait_for_child()

    def _wait_for_child(self) -> None:
        """Wait until the child of a process that was killed in a round has ended, too.

        It holds a lock on the folder (rounds/process.py).
        """
        folder = os.open(self.path.parent, os.O_RDONLY)
        until = time.monotonic() + _CHILD_SECONDS
        try:
            while True:
                try:
                    fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    if time.monotonic() > until:
                        self.close()
                        raise BusyError(
                            f"state {self.path.parent}: a round's process that has lost its parent is still ending;"
                            " wait"
                            " for it"
                        ) from None
                    time.sleep(0.01)
        finally:
            os.close(folder)

    def _configure(self) -> None:
        if self.storage_bytes is None:
            self.run("PRAGMA query_only=ON")
            return
        if not self.run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self.run(f"PRAGMA page_size={PAGE_BYTES}")
            self.run("PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in (
            "journal_mode=TRUNCATE",
            "temp_store=MEMORY",
            "synchronous=FULL",
            "cache_size=-1024",
            "secure_delete=OFF",
        ):
            self.run(f"PRAGMA {pragma}")

    def close(self) -> None:
        """Release the database's file and lock."""
        if hasattr(self, "_connection"):
            self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def run(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Execute one statement; waits for another thread's transaction to end."""
        with self.lock:
            return self._connection.execute(statement, values)

    def rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows that one statement finds, before another thread changes any."""
        with self.lock:
            return self._connection.execute(statement, values).fetchall()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def pragma(self, name: str) -> int:
        """Value of a pragma that is a number."""
        return int(self.run(f"PRAGMA {name}").fetchone()[0])

    # -- bytes

    @property
    def max_record_bytes(self) -> int:
        """The largest record that is taken: a few must fit, and one transaction's journal must stay small."""
        assert self.storage_bytes is not None
        return max(self.storage_bytes // 32, 2000)

    def set_limit(self, other_bytes: int, batch: int = 1) -> None:
        """Divide the budget between file and journal.

        Args:
            other_bytes: the largest row besides those of sets.
            batch: admissions that may share one commit.

        Raises:
            BudgetError: hardly a record would fit; names what would do.
        """
        assert self.storage_bytes is not None
        record_pages, other_pages = overflow_pages(self.max_record_bytes) + 1, overflow_pages(other_bytes) + 1
        self._batch_bytes = min((batch - 1) * _BATCH_PAGES * JOURNAL_PAGE_BYTES, self.storage_bytes // _BATCH_SHARE)
        self._journal_budget = (
            2 * record_pages + other_pages + _JOURNAL_TREE_PAGES
        ) * JOURNAL_PAGE_BYTES + self._batch_bytes
        self.max_pages = (self.storage_bytes - self._journal_budget) // PAGE_BYTES
        if self.max_pages < other_pages + 3 * record_pages:
            least = self.storage_bytes + (other_pages + 3 * record_pages - self.max_pages) * PAGE_BYTES
            raise BudgetError(
                f"storage of {format_size(self.storage_bytes)} is too small for this model; give --storage"
                f" {least // 1000 + 1}KB"
            )
        self.run(f"PRAGMA max_page_count={self.max_pages}")

    def free_pages(self) -> int:
        """Pages that may still be filled; negative where the budget was made smaller."""
        return self.max_pages - self.pragma("page_count") + self.pragma("freelist_count")

    def fits(self, row_bytes: int) -> bool:
        """Whether a row fits as things are: never too hopeful, so a commit never fails for space."""
        return overflow_pages(row_bytes) + _TREE_PAGES <= self.free_pages()

    def journal_bytes(self) -> int:
        """Size of the journal: what the open transaction has saved there."""
        try:
            return self._journal.stat().st_size
        except FileNotFoundError:
            return 0

    def journal_allows(self, row_bytes: int) -> bool:
        """Whether the open transaction may still add a row of this size and end inside the journal's share."""
        return (
            self.journal_bytes()
            <= self._journal_budget - (overflow_pages(row_bytes) + _JOURNAL_INSERT_PAGES) * JOURNAL_PAGE_BYTES
        )

    def batch_is_full(self) -> bool:
        """Whether one more decision in the open transaction might need more journal than there is."""
        return self.journal_bytes() > self._batch_bytes

    @contextlib.contextmanager
    def dry_run(self) -> Iterator[None]:
        """Undo at the end whatever is done inside."""
        if self.in_transaction:
            self.run("SAVEPOINT trial")
            try:
                yield
            finally:
                self.run("ROLLBACK TO trial")
                self.run("RELEASE trial")
            return
        self.run("PRAGMA synchronous=OFF")  # it never reaches the file, so the disk need not wait for it
        self.run("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self.run("ROLLBACK")
            self.run("PRAGMA synchronous=FULL")

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep the lock between transactions.

        Readers wait, and the journal stays open, which saves each commit the folder's fsync.
        """
        self.run("PRAGMA locking_mode=EXCLUSIVE")
        try:
            yield
        finally:
            self.run("PRAGMA locking_mode=NORMAL")
            self.run("SELECT count(*) FROM sqlite_master").fetchone()  # lets go of it

    def disk_bytes(self) -> int:
        """Sum of the sizes of the buffer's files."""
        return sum(file.stat().st_size for file in self.path.parent.glob("buffer*"))

    def vacuum(self) -> None:
        """Give free pages past the limit back, in small steps."""
        while self.pragma("page_count") > self.max_pages and self.pragma("freelist_count"):
            self.run(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()

    # -- trouble

    def as_user_error(self, error: sqlite3.OperationalError) -> Exception:
        """An error of SQLite as the one line that a user is told."""
        text = str(error)
        if "full" in text:
            return BudgetError(f"{self.path}: the disk is full; nothing kept was harmed, free some space and run again")
        if "locked" in text:
            return StateError(f"{self.path}: a reader has held it for {_BUSY_SECONDS:.0f} s; close it and run again")
        return StateError(f"{self.path}: {text}; check that the disk is writable, nothing kept was harmed")

    def unreadable(self, error: sqlite3.DatabaseError) -> StateError:
        """The one line about a file that is no database, or a damaged one."""
        return StateError(f"{self.path}: not a readable buffer ({error}); restore it, or move the folder away")

    def check(self) -> None:
        """Run SQLite's own integrity check.

        Raises:
            StateError: names the first damage.
        """
        found = self.run("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise StateError(f"{self.path}: damaged ({found}); restore it, or move the folder away")
