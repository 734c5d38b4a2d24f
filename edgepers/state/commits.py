"""Transactions on a buffer's file, each together with the progress after it, and what they cost the disk."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator

from edgepers.state.database import JOURNAL_PAGE_BYTES, PAGE_BYTES, Database
from edgepers.state.progress import Progress
from edgepers.state.sealed_rows import SealedRows

__all__ = ["Change", "Commits"]

_LAST_PAGES = 4  # the first page and those of the progress join the journal at commit, at most
# Of a commit: journal twice, file, emptied journal; and one for the folder where the journal was opened for it
# (tests/state/test_wear.py).
_FSYNCS = 4


class Change:
    """The progress that a transaction will commit; what happens inside may replace it."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress


class Commits:
    """Owns a buffer's progress: what the disk holds, and what was decided after it without a write.

    Args:
        db: the file.
        rows: where the progress lies, sealed.
        batch: admissions that may share one commit.
        undone: called after a transaction was rolled back.
    """

    def __init__(self, db: Database, rows: SealedRows, batch: int, undone: Callable[[], None]) -> None:
        self._db = db
        self._rows = rows
        self.batch = batch
        self._undone = undone
        self._waiting = 0  # admissions that are not committed yet
        self._pages = 0  # of the file, when the open transaction began
        self._exclusive = self._journal_open = False
        self._load()

    def _load(self) -> None:
        self._progress = self._rows.progress()
        self._stored_center = (
            self._progress.center
        )  # drops advance the progress without a write, and its center with it

    @property
    def progress(self) -> Progress:
        """What the disk holds, and what was decided after it."""
        return self._progress

    def advance(self, progress: Progress) -> None:
        """Put a progress in place that need not be durable: it is made again, the same way, where it is lost."""
        self._progress = progress

    @property
    def waiting(self) -> int:
        """Admissions that are not durable yet."""
        return self._waiting

    @contextlib.contextmanager
    def transaction(self, progress: Progress | None = None) -> Iterator[Change]:
        """Commit together with a new progress, by itself; or roll back, also on KeyboardInterrupt."""
        with self._db.lock:
            self.flush()
            change = Change(self._progress if progress is None else progress)
            with self._or_nothing():
                self._begin()
                yield change
                self._commit(change.progress)

    @contextlib.contextmanager
    def shared(self, progress: Progress) -> Iterator[None]:
        """Join the open transaction of a batch, or begin one.

        It is committed when the batch, or the journal's share, is full.
        """
        with self._db.lock, self._or_nothing():
            if not self._waiting:
                self._begin()
            yield
            self._waiting += 1
            self._progress = progress
            if self._waiting >= self.batch or self._db.batch_is_full():
                self._commit(progress)

    def flush(self) -> None:
        """Make durable what waits for a commit."""
        with self._db.lock:
            if self._waiting:
                with self._or_nothing():
                    self._commit(self._progress)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let no other process or thread in for a while: but for the first, commits then make four fsyncs, not five."""
        with self._db.lock, self._db.exclusive():
            self._exclusive = True
            try:
                yield
            finally:
                self._exclusive = self._journal_open = False

    @contextlib.contextmanager
    def _or_nothing(self) -> Iterator[None]:
        """Roll back whatever is open when something fails."""
        try:
            yield
        except BaseException as error:
            if self._db.in_transaction:
                self._db.run("ROLLBACK")
            self._waiting = 0
            self._load()  # an interrupt may have come just after the commit: the disk knows
            self._undone()
            if isinstance(error, sqlite3.OperationalError):
                raise self._db.as_user_error(error) from None
            raise

    def _begin(self) -> None:
        self._pages = self._db.pragma("page_count")
        self._db.run("BEGIN IMMEDIATE")

    def _commit(self, progress: Progress) -> None:
        db = self._db
        if progress.center is not self._stored_center and progress.center is not None:
            self._rows.write_center(progress.center)
        journal, pages = db.journal_bytes(), db.pragma("page_count")
        saved = journal + (_LAST_PAGES - 1) * JOURNAL_PAGE_BYTES
        new = progress.committed(
            fsyncs=_FSYNCS if self._journal_open else _FSYNCS + 1,
            # each page that the journal saves is written again
            written_bytes=2 * saved + max(pages - self._pages, 0) * PAGE_BYTES,
            bytes_on_disk=pages * PAGE_BYTES + journal + _LAST_PAGES * JOURNAL_PAGE_BYTES,
        )
        self._rows.write_progress(new)
        db.run("COMMIT")
        self._progress, self._stored_center, self._waiting = new, new.center, 0
        self._journal_open = self._exclusive
