"""The dialogue sets kept, on disk, sealed, inside a budget of bytes that holds at every moment.

Every decision is one transaction together with the stream's position: durable before it is acknowledged.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from edgepers.errors import BudgetError, StateError
from edgepers.privacy.keyring import KeySource
from edgepers.privacy.sealer import Sealer
from edgepers.state.commits import Commits
from edgepers.state.database import SCHEMA_VERSION, Database
from edgepers.state.kept_rows import KeptRows, row_bytes
from edgepers.state.marks import Marks
from edgepers.state.progress import Progress
from edgepers.state.records import KeptSet, pack_record
from edgepers.state.rotation import Rotation
from edgepers.state.sealed_rows import SealedRows

__all__ = ["Buffer"]


class Buffer:
    """The kept sets of one state folder; one writing process at a time, readers wait at most 5 s.

    Threads of a process may share a buffer: each method is done before another thread's begins. Whoever reads here in
    order to write (`progress`, then `save`) holds `lock` over both.

    Args:
        folder: the state folder; `buffer.db` is made in it.
        storage_bytes: the budget; None opens for reading only.
        keys: where the key ring lies.
        batch: admissions that may share one commit; `flush` ends one early, as does a journal whose share is full.
        quarantine: set records aside that cannot be read, instead of an error.

    Attributes:
        sealer: encrypts for this state.

    Raises:
        StateError: no buffer there, another writer, a damaged or newer file, a missing or wrong key.
        BudgetError: the budget is too small.
    """

    sealer: Sealer

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
        self._db = Database(self.folder / "buffer.db", storage_bytes)
        try:
            self._open(keys or KeySource(), batch)
            if quarantine and storage_bytes is not None:
                self._set_damaged_aside()
        except sqlite3.OperationalError as error:
            self.close()
            raise self._db.as_user_error(error) from None
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._db.unreadable(error) from None
        except BaseException:
            self.close()
            raise

    def _open(self, keys: KeySource, batch: int) -> None:
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
        rows = SealedRows.open(db, keys)
        self.sealer = rows.sealer
        self._kept = KeptRows(db, rows.sealer)
        self._commits = Commits(db, rows, batch, undone=self._kept.forget_marks)
        self._rotation = Rotation(db, self._commits, self._kept, rows, rows.sealer)
        if db.storage_bytes is not None:
            self._set_limit()

    def _set_limit(self) -> None:
        center = self.progress.center
        self._db.set_limit(row_bytes(b"" if center is None else center.total.tobytes()), self._commits.batch)

    def close(self) -> None:
        """Release the buffer's file and lock."""
        self._db.close()

    def __enter__(self) -> "Buffer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def lock(self) -> threading.RLock:
        """Held by the thread that works on the buffer; take it where several steps must be one."""
        return self._db.lock

    # -- bytes

    @property
    def path(self) -> Path:
        """The database file of the buffer."""
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
        return row_bytes(pack_record(kept) if isinstance(kept, KeptSet) else kept)

    def fits(self, row_bytes: int) -> bool:
        """Whether a row fits as things are: never too hopeful, so a commit never fails for space."""
        return self._db.fits(row_bytes)

    def room_for(self, row_bytes: int, order: Iterable[int]) -> int | None:
        """How many sets, in the given order of positions, must leave until a row fits; None where all are not enough.

        Exact: they are deleted in a transaction that is rolled back. An order that would outgrow the journal's room is
            not enough.
        """
        with self.lock:
            if self.fits(row_bytes):
                return 0
            with self._db.dry_run():
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
        """What the kept sets themselves are of these bytes: scores, compressed embedding and text."""
        marks = self.marks
        return sum(marks[position].stored_bytes - row_bytes(b"") for position in marks)

    def wear(self) -> dict[str, int]:
        """Commits so far, the bytes they wrote to the buffer's files, and the fsyncs they asked of the disk."""
        progress = self.progress
        return {
            "commits": progress.commits,
            "written_bytes": progress.written_bytes,
            "fsyncs": progress.fsyncs,
        }

    # -- progress

    @property
    def progress(self) -> Progress:
        """What the disk holds, and what was decided after it."""
        return self._commits.progress

    def advance(self, progress: Progress) -> None:
        """Put a progress in place that need not be durable, such as after a drop.

        A resumed stream makes it again, the same way.
        """
        self._commits.advance(progress)

    def save(self, progress: Progress) -> None:
        """Make a progress durable by itself: at exit, and when a round ends."""
        with self._commits.transaction(progress):
            pass

    @property
    def waiting(self) -> int:
        """Admissions that are not durable yet."""
        return self._commits.waiting

    def flush(self) -> None:
        """Make durable what waits for a commit."""
        self._commits.flush()

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        """Let no other process and no other thread in for a while, such as a micro-batch.

        Its commits then cost fewer fsyncs.
        """
        return self._commits.exclusive()

    def start(self, identity: dict[str, str], hidden_size: int) -> None:
        """Remember what a new buffer is made with, and reserve the center's room."""
        with self._commits.transaction(self.progress.center_reserved(hidden_size)):
            for item in identity.items():
                self._db.run("INSERT OR REPLACE INTO identity VALUES (?, ?)", item)
        self._set_limit()

    def identity(self) -> dict[str, str]:
        """What this buffer was made with: model, seed, lexicons; empty for a new one."""
        with self.lock:
            return dict(self._db.run("SELECT key, value FROM identity WHERE key != 'state'"))

    # -- kept sets

    @property
    def marks(self) -> Marks:
        """What is known of each kept set without opening it."""
        with self.lock:
            return self._kept.marks

    def __len__(self) -> int:
        return len(self.marks)

    def __iter__(self) -> Iterator[KeptSet]:
        """All kept sets in order of arrival; each record is opened."""
        return self._kept.read("TRUE")

    def annotated(self) -> list[KeptSet]:
        """The kept sets that their owner has judged, in order of arrival; no other record is opened."""
        return list(self._kept.read("annotated"))

    def get(self, position: int) -> KeptSet:
        """One kept set by its position.

        Raises:
            StateError: it is not there, or damaged.
        """
        for kept in self._kept.read("position = ?", (position,)):
            return kept
        raise StateError(f"{self.path}: set {position} is not in the buffer")

    def admit(self, kept: KeptSet, evict: Sequence[int], progress: Progress, packed: bytes | None = None) -> None:
        """Keep a set, let others go, and note the position, in one transaction: durable when `waiting` is 0.

        Args:
            kept: the set.
            evict: positions of those that go.
            progress: after the decision; that one came and others went is counted here.
            packed: `pack_record` of the set, where it is known already.
        """
        after = progress.set_admitted(kept.position).sets_evicted(len(evict))
        with self._commits.shared(after):
            for position in evict:
                self._kept.delete(position)
            self._insert(kept, pack_record(kept) if packed is None else packed)

    def replace(self, kept: KeptSet, evict: Sequence[int], progress: Progress, packed: bytes | None = None) -> None:
        """Keep a changed version of a kept set, such as an annotated one, and let others go to make room."""
        with self._commits.transaction(progress.sets_evicted(len(evict))):
            for position in evict:
                self._kept.delete(position)
            self._kept.take_out(kept.position)
            self._insert(kept, pack_record(kept) if packed is None else packed)

    def count_repeat(self, position: int, progress: Progress, *, doubted: bool = False) -> bool:
        """Count on a kept set that its question was asked again, and note the stream's position, in one transaction.

        Durable when `waiting` is 0; past `MOST_REPEATS` of a set nothing is written.

        Args:
            position: of the kept set.
            progress: after the decision.
            doubted: what was said next takes the response back.

        Returns:
            Whether it was counted: not past `MOST_REPEATS`, while a key is being changed, or in a row that is larger
            than any that a smaller budget would take.
        """
        with self.lock:
            sealed = self._kept.remarked(position, again=True, doubted=doubted)
            if sealed is None:
                self.advance(progress)
                return False
            with self._commits.shared(progress):
                self._kept.overwrite(position, sealed)
        return True

    def doubt(self, position: int) -> None:
        """Note, durably, that what was said after a kept set takes its response back."""
        with self.lock:
            sealed = self._kept.remarked(position, again=False, doubted=True)
            if sealed is not None:
                with self._commits.transaction():
                    self._kept.overwrite(position, sealed)

    def _insert(self, kept: KeptSet, record: bytes) -> None:
        if not self.fits(row_bytes(record)):
            raise BudgetError(
                f"{self.path}: set {kept.position} does not fit after what was evicted; a policy must evict more, or"
                " return None"
            )
        self._kept.insert(kept, record)

    def mark_asked(self, position: int, round_number: int) -> bool:
        """Remember that the owner was asked about a set.

        False where its row, which may grow by a few bytes, finds no room any more, or is larger than any that a budget
        which was made smaller would take: the journal has no room for it.
        """
        with self.lock:
            if position in self.marks and self.marks[position].stored_bytes > self.max_record_bytes:
                return False
        try:
            with self._commits.transaction():  # the file's own limit judges: `fits` is too careful here
                self._kept.seal_again(position, asked=round_number)
        except BudgetError:
            return False
        return True

    def shrink(self, order: Sequence[int]) -> None:
        """Come down to a smaller budget in small steps, sets leaving in the given order of positions.

        So the journal of each step is small.
        """
        left = iter(order)
        with self.lock:
            while self._db.free_pages() < 0 and (position := next(left, None)) is not None:
                with self._commits.transaction(self.progress.sets_evicted(1)):
                    self._kept.delete(position)
            self._db.vacuum()

    @property
    def over_budget(self) -> bool:
        """Whether the budget was made smaller than what is kept."""
        return self._db.free_pages() < 0 or self._db.pragma("page_count") > self._db.max_pages

    # -- forgetting

    def forget(self, positions: Sequence[int], progress: Progress) -> None:
        """Delete sets on their owner's wish, some at a time.

        `rotate` then makes what their pages held unreadable for ever.
        """
        left = list(positions)
        progress = progress.key_retired(self.sealer.key)
        while left:
            with self._commits.transaction(progress) as change:
                while left and self._db.journal_allows(0):
                    self._kept.delete(left.pop())
                    change.progress = change.progress.sets_forgotten(1)
            progress = self.progress

    def add_key(self) -> None:
        """Seal with a newer key than the retired one from now on."""
        self._rotation.add_key()

    def rotate(self) -> None:
        """Seal everything with a new key, some at a time, and destroy the old ones.

        It goes on where it was interrupted.
        """
        with self.lock:
            self._rotation.run()

    # -- trouble

    def _set_damaged_aside(self) -> None:
        """Move sets that do not open out of the way.

        They stay in the file until a key is rotated, and count as evicted.
        """
        for position in self._kept.damaged():
            with self._commits.transaction(self.progress.set_quarantined()):
                self._kept.set_aside(position)

    def check(self) -> None:
        """Run SQLite's own integrity check, and open every set.

        Raises:
            StateError: names the first damage.
        """
        self._db.check()
        for _ in self:
            pass
