"""The dialogue sets kept, on disk, inside a budget of bytes that holds at every moment.

One SQLite file with a rollback journal. Pages are the smallest there are (512 bytes), the file may never grow past
`max_pages`, and what is left of the budget is room for the largest journal that one transaction can write. Every
decision is one transaction together with the stream's position: durable before it is acknowledged.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgepers.config import MIN_STORAGE_BYTES, format_size
from edgepers.dialogue import Cursor
from edgepers.errors import BudgetError, StateError, nothing_yet
from edgepers.select.records import CenterSum, KeptSet, Progress, pack_text, unpack_text

__all__ = ["Buffer"]

SCHEMA_VERSION = 2
PAGE_BYTES = 512
_USABLE = PAGE_BYTES - 4  # of an overflow page
_LOCAL_MOST, _LOCAL_LEAST = PAGE_BYTES - 35, (PAGE_BYTES - 12) * 32 // 255 - 23  # sqlite.org/fileformat2.html, section 1.6
_ROW_OVERHEAD = 64  # header and short columns of a row, at most
_TREE_PAGES = 8  # an insertion may split a leaf and each of its parents (four levels at 10,000 sets), and open a pointer-map page
_JOURNAL_TREE_PAGES = 28  # tree, free-list, pointer-map, progress and schema pages that one decision may touch
_JOURNAL_INSERT_PAGES = 12  # of those, what the insertion that ends a decision may add
_JOURNAL_PAGE_BYTES = PAGE_BYTES + 8
_BUSY_SECONDS = 5.0
_SHRINK_PAGES = 8

_SCHEMA = """
CREATE TABLE progress(id INTEGER PRIMARY KEY CHECK (id = 1), data BLOB NOT NULL);
CREATE TABLE identity(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE center(id INTEGER PRIMARY KEY CHECK (id = 1), sets INTEGER NOT NULL, rows INTEGER NOT NULL, total BLOB NOT NULL);
CREATE TABLE kept(
    position INTEGER PRIMARY KEY, domain TEXT NOT NULL, entropy REAL NOT NULL, domain_score REAL NOT NULL, asked INTEGER NOT NULL,
    verdict TEXT NOT NULL, offset INTEGER NOT NULL, line INTEGER NOT NULL, turn INTEGER NOT NULL,
    embedding BLOB NOT NULL, text BLOB NOT NULL
);
"""


def _overflow_pages(row_bytes: int) -> int:
    if row_bytes <= _LOCAL_MOST:
        return 0
    local = _LOCAL_LEAST + (row_bytes - _LOCAL_LEAST) % _USABLE
    return -(-(row_bytes - (local if local <= _LOCAL_MOST else _LOCAL_LEAST)) // _USABLE)


class Buffer:
    """The kept sets of one state folder; one writer at a time, readers wait at most 5 s.

    Args:
        folder: the state folder; `buffer.db` is made in it.
        storage_bytes: the budget; None opens for reading only.

    Raises:
        StateError: no buffer there, another writer, a damaged or newer file.
        BudgetError: the budget is too small.
    """

    def __init__(self, folder: str | Path, storage_bytes: int | None = None) -> None:
        self.path = Path(folder) / "buffer.db"
        self.storage_bytes = storage_bytes
        self._journal = self.path.with_name("buffer.db-journal")
        self._journal_budget = 0
        self._stored_center: CenterSum | None = None
        self._lock: int | None = None
        if storage_bytes is None:
            if not self.path.is_file():
                raise nothing_yet(folder)
            self._connection = self._connect(f"file:{self.path}?mode=ro", uri=True)
            self.max_pages = 0
        else:
            if storage_bytes < MIN_STORAGE_BYTES:
                raise BudgetError(
                    f"storage of {format_size(storage_bytes)} is too small for a buffer; the least is {format_size(MIN_STORAGE_BYTES)}"
                )
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._connection = self._connect(str(self.path))
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self.close()
            raise StateError(f"{self.path}: not a readable buffer ({error}); restore it, or move the folder away") from None
        except BaseException:
            self.close()
            raise

    # -- opening and closing

    def _connect(self, path: str, *, uri: bool = False) -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, uri=uri, check_same_thread=False)

    def _take_lock(self) -> None:
        lock = self.path.with_name("buffer.lock")
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            self._lock = None
            raise StateError(f"state {self.path.parent}: another edgepers process is working on it; wait for it, or stop it") from None

    def _prepare(self) -> None:
        run = self._connection.execute
        new = not run("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if self.storage_bytes is not None:
            if new:
                run(f"PRAGMA page_size={PAGE_BYTES}")
                run("PRAGMA auto_vacuum=INCREMENTAL")
            for pragma in ("journal_mode=TRUNCATE", "temp_store=MEMORY", "synchronous=FULL", "cache_size=-1024", "secure_delete=OFF"):
                run(f"PRAGMA {pragma}")
            if new:
                self._connection.executescript(f"BEGIN;{_SCHEMA};PRAGMA user_version={SCHEMA_VERSION};COMMIT;")
        version = run("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise StateError(
                f"{self.path}: schema {version}, this edgepers reads {SCHEMA_VERSION}; update edgepers, or start a new state folder"
            )
        self.progress = self._load_progress()
        if self.storage_bytes is not None:
            self._set_limit()

    def _set_limit(self) -> None:
        assert self.storage_bytes is not None
        record_pages = _overflow_pages(self.max_record_bytes) + 1
        center_pages = 0 if self.progress.center is None else _overflow_pages(self.progress.center.total.nbytes) + 1
        journal_pages = 2 * record_pages + center_pages + _JOURNAL_TREE_PAGES
        self._journal_budget = journal_pages * _JOURNAL_PAGE_BYTES
        self.max_pages = (self.storage_bytes - self._journal_budget) // PAGE_BYTES
        if self.max_pages < center_pages + 3 * record_pages:
            least = self.storage_bytes + (center_pages + 3 * record_pages - self.max_pages) * PAGE_BYTES
            raise BudgetError(
                f"storage of {format_size(self.storage_bytes)} is too small for this model; give --storage {least // 1000 + 1}KB"
            )
        self._shrink()
        self._connection.execute(f"PRAGMA max_page_count={self.max_pages}")

    def close(self) -> None:
        """Release file and lock."""
        if hasattr(self, "_connection"):
            self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "Buffer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- bytes

    @property
    def max_record_bytes(self) -> int:
        """The largest record that is taken: a few must fit, and one transaction's journal must stay small."""
        assert self.storage_bytes is not None
        return max(self.storage_bytes // 32, 2000)

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    def _free_pages(self) -> int:
        return self.max_pages - self._pragma("page_count") + self._pragma("freelist_count")

    @staticmethod
    def row_bytes(text_bytes: int, embedding_bytes: int) -> int:
        """Bytes of a row that holds these."""
        return text_bytes + embedding_bytes + _ROW_OVERHEAD

    def fits(self, row_bytes: int) -> bool:
        """Whether a row fits as things are: never too hopeful, so a commit never fails for space."""
        return _overflow_pages(row_bytes) + _TREE_PAGES <= self._free_pages()

    def room_for(self, row_bytes: int, order: Sequence[int] | npt.NDArray[np.int64]) -> int | None:
        """How many sets, in the given order of positions, must leave until a row fits; None where all are not enough.

        Exact: they are deleted in a transaction that is rolled back. An order that would outgrow the journal's room is not enough.
        """
        if self.fits(row_bytes):
            return 0
        if not len(order):
            return None
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for count, position in enumerate(order, 1):
                self._connection.execute("DELETE FROM kept WHERE position = ?", (int(position),))
                if (
                    self._journal_bytes()
                    > self._journal_budget - (_overflow_pages(row_bytes) + _JOURNAL_INSERT_PAGES) * _JOURNAL_PAGE_BYTES
                ):
                    return None
                if self.fits(row_bytes):
                    return count
        finally:
            self._connection.execute("ROLLBACK")
        return None

    def _journal_bytes(self) -> int:
        try:
            return self._journal.stat().st_size
        except FileNotFoundError:
            return 0

    def disk_bytes(self) -> int:
        """Sum of the sizes of the buffer's files."""
        return sum(file.stat().st_size for file in self.path.parent.glob("buffer*"))

    # -- transactions

    @contextlib.contextmanager
    def _transaction(self, progress: Progress | None = None) -> Iterator[sqlite3.Connection]:
        """Commit together with the new progress, or roll back, also on KeyboardInterrupt; `self.progress` is what the disk holds."""
        new = self.progress.copy() if progress is None else progress
        run = self._connection.execute
        try:
            run("BEGIN IMMEDIATE")
            yield self._connection
            if new.center is not self._stored_center and new.center is not None:
                run("INSERT OR REPLACE INTO center VALUES (1, ?, ?, ?)", (new.center.sets, new.center.rows, new.center.total.tobytes()))
            size = self._pragma("page_count") * PAGE_BYTES + self._journal_bytes()
            new.peak_bytes = max(new.peak_bytes, size + 4 * _JOURNAL_PAGE_BYTES)  # the first page and those of the progress join at commit
            run("INSERT OR REPLACE INTO progress VALUES (1, ?)", (new.pack(),))
            run("COMMIT")
            self.progress, self._stored_center = new, new.center
        except BaseException as error:
            if self._connection.in_transaction:
                run("ROLLBACK")
            self.progress = self._load_progress()  # an interrupt may have come just after the commit: the disk knows
            if isinstance(error, sqlite3.OperationalError):
                raise self._explained(error) from None
            raise

    def _load_progress(self) -> Progress:
        row = self._connection.execute("SELECT data FROM progress").fetchone()
        progress = Progress() if row is None else Progress.unpack(row[0])
        center = self._connection.execute("SELECT sets, rows, total FROM center").fetchone()
        if center is not None:
            progress.center = CenterSum(center[0], center[1], np.frombuffer(center[2], dtype=np.float32))
        self._stored_center = progress.center  # drops advance the progress without a write, and its center with it
        return progress

    def _explained(self, error: sqlite3.OperationalError) -> Exception:
        text = str(error)
        if "full" in text:
            return BudgetError(f"{self.path}: the disk is full; nothing kept was harmed, free some space and run again")
        if "locked" in text:
            return StateError(f"{self.path}: a reader has held it for {_BUSY_SECONDS:.0f} s; close it and run again")
        return StateError(f"{self.path}: {text}; check that the disk is writable, nothing kept was harmed")

    def save(self, progress: Progress) -> None:
        """Make progress durable by itself: at exit, and when a round ends."""
        with self._transaction(progress):
            pass

    def start(self, identity: dict[str, str], hidden_size: int) -> None:
        """Remember what a new buffer is made with, and reserve the center's room."""
        new = self.progress.copy()
        new.center = CenterSum(0, 0, np.zeros(hidden_size, dtype=np.float32))
        with self._transaction(new) as connection:
            connection.executemany("INSERT OR REPLACE INTO identity VALUES (?, ?)", identity.items())
        self._set_limit()

    def identity(self) -> dict[str, str]:
        """What this buffer was made with: model, seed, lexicons; empty for a new one."""
        return dict(self._connection.execute("SELECT key, value FROM identity"))

    # -- kept sets

    def admit(self, kept: KeptSet, evict: Sequence[int], progress: Progress) -> None:
        """Keep a set, let others go, and note the position, in one durable transaction."""
        progress.admitted += 1
        progress.count_admission(kept.position)
        with self._transaction(progress) as connection:
            self._evict(connection, evict, progress)
            self._insert(connection, kept)

    def replace(self, kept: KeptSet, evict: Sequence[int], progress: Progress) -> None:
        """Keep a changed version of a kept set, such as an annotated one, and let others go to make room."""
        with self._transaction(progress) as connection:
            self._evict(connection, evict, progress)
            connection.execute("DELETE FROM kept WHERE position = ?", (kept.position,))
            self._insert(connection, kept)

    def forget(self, position: int, progress: Progress) -> None:
        """Delete one set on its owner's wish; what its pages held is overwritten."""
        progress.forgotten += 1
        self._connection.execute("PRAGMA secure_delete=ON")
        try:
            with self._transaction(progress) as connection:
                self._delete(connection, position)
        finally:
            self._connection.execute("PRAGMA secure_delete=OFF")

    def mark_asked(self, position: int, round_number: int) -> None:
        """Remember that the owner was asked about a set."""
        with self._transaction() as connection:
            connection.execute("UPDATE kept SET asked = ? WHERE position = ?", (round_number, position))

    def _evict(self, connection: sqlite3.Connection, positions: Sequence[int], progress: Progress) -> None:
        progress.evicted += len(positions)
        for position in positions:
            self._delete(connection, position)

    def _delete(self, connection: sqlite3.Connection, position: int) -> None:
        if connection.execute("DELETE FROM kept WHERE position = ?", (int(position),)).rowcount != 1:
            raise StateError(f"{self.path}: set {position} was to leave but is not there; run 'edgepers status' and report this")

    def _insert(self, connection: sqlite3.Connection, kept: KeptSet) -> None:
        text = pack_text(kept.id, kept.question, kept.response, kept.reference)
        if not self.fits(self.row_bytes(len(text), kept.embedding.nbytes)):
            raise BudgetError(
                f"{self.path}: set {kept.position} does not fit after what was evicted; a policy must evict more, or return None"
            )
        connection.execute(
            "INSERT INTO kept VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                kept.position, kept.domain, kept.entropy, kept.domain_score, kept.asked, kept.verdict,
                kept.where.offset, kept.where.line, kept.where.turn, kept.embedding.tobytes(), text,
            ),
        )  # fmt: skip

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
        return int(self._connection.execute("SELECT count(*) FROM kept").fetchone()[0])

    def domains(self) -> dict[str, int]:
        """Kept sets by domain, the fullest first."""
        return dict(self._connection.execute("SELECT domain, count(*) AS n FROM kept GROUP BY domain ORDER BY n DESC, domain").fetchall())

    def _select(self, where: str, values: tuple[int, ...]) -> Iterator[KeptSet]:
        columns = "position, domain, entropy, domain_score, asked, verdict, offset, line, turn, embedding, text"
        for row in self._connection.execute(f"SELECT {columns} FROM kept {where}", values).fetchall():
            identity, question, response, reference = unpack_text(row[10])
            yield KeptSet(
                position=row[0],
                id=identity or "",
                question=question or "",
                response=response or "",
                reference=reference,
                domain=row[1],
                entropy=row[2],
                domain_score=row[3],
                embedding=np.frombuffer(row[9], dtype=np.int8),
                where=Cursor(row[6], row[7], turn=row[8]),
                asked=row[4],
                verdict=row[5],
                stored_bytes=self.row_bytes(len(row[10]), len(row[9])),
            )

    def _shrink(self) -> None:
        """Come down to a smaller budget in small steps, the oldest sets without an annotation first: each step's journal is small."""
        while self._free_pages() < 0:
            oldest = self._connection.execute("SELECT position FROM kept ORDER BY verdict != '', position LIMIT 1").fetchone()
            if oldest is None:
                break
            new = self.progress.copy()
            with self._transaction(new) as connection:
                self._evict(connection, [oldest[0]], new)
        while self._pragma("page_count") > self.max_pages and self._pragma("freelist_count"):
            self._connection.execute(f"PRAGMA incremental_vacuum({_SHRINK_PAGES})").fetchall()

    def check(self) -> None:
        """SQLite's own integrity check.

        Raises:
            StateError: names the first damage.
        """
        found = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise StateError(f"{self.path}: damaged ({found}); restore it, or move the folder away")
