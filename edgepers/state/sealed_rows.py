"""What is sealed beside the sets.

That is a constant that proves the key, the progress, and the sum that the center is made of.
"""

from edgepers.errors import StateError
from edgepers.privacy.keyring import KeyRing, KeySource
from edgepers.privacy.sealer import DamagedError, Sealer
from edgepers.state.database import SCHEMA, SCHEMA_VERSION, Database
from edgepers.state.progress import Progress
from edgepers.state.records import CenterSum

__all__ = ["SealedRows"]

_CHECK, _PROGRESS, _CENTER = range(3)
_NAMES = ("check", "progress", "center")


class SealedRows:
    """The rows of a state's file that are not sets, and the sealer that is right for all of it."""

    def __init__(self, db: Database, sealer: Sealer) -> None:
        self._db = db
        self.sealer = sealer

    @classmethod
    def create(cls, db: Database, keys: KeySource) -> None:
        """Make a new key ring and then, in one transaction, a new file that needs it."""
        ring = KeyRing.create(keys, db.path.parent)
        db.run("BEGIN IMMEDIATE")
        for statement in filter(str.strip, SCHEMA.split(";")):
            db.run(statement)
        db.run("INSERT INTO identity VALUES ('state', ?)", (ring.state,))
        cls(db, Sealer(ring)).write_check()
        db.run(f"PRAGMA user_version={SCHEMA_VERSION}")
        db.run("COMMIT")
        db.version = SCHEMA_VERSION

    @classmethod
    def open(cls, db: Database, keys: KeySource) -> "SealedRows":
        """Open the sealed rows of a file of this schema.

        Raises:
            StateError: no key, or a wrong one.
        """
        (state,) = db.run("SELECT value FROM identity WHERE key = 'state'").fetchone()
        folder = db.path.parent
        rows = cls(db, Sealer(KeyRing.open(keys, state, folder)))
        try:
            rows._read(_CHECK)
        except DamagedError:
            raise StateError(
                f"state {folder}: the key in {keys.path(state)} does not fit; give the right --key-file or restore it"
                " from a copy"
            ) from None
        return rows

    def progress(self) -> Progress:
        """What is on the disk, with its center; a new one where there is none yet.

        Raises:
            StateError: damaged.
        """
        try:
            packed, center = self._read(_PROGRESS), self._read(_CENTER)
        except DamagedError as error:
            raise StateError(
                f"{self._db.path}: record {str(error).partition(' ')[0]} is damaged; restore the state from a copy"
            ) from None
        if packed is None:
            return Progress()
        return Progress.unpack(packed, None if center is None else CenterSum.unpack(center))

    def write_check(self) -> None:
        """Prove the newest key from now on."""
        self._write(_CHECK, b"edgepers")

    def write_progress(self, progress: Progress) -> None:
        """Write the progress without its center."""
        self._write(_PROGRESS, progress.pack())

    def write_center(self, center: CenterSum) -> None:
        """Write the center's sum."""
        self._write(_CENTER, center.pack())

    def _write(self, row: int, data: bytes) -> None:
        sealed = self.sealer.seal(data, _NAMES[row])
        self._db.run("INSERT OR REPLACE INTO sealed VALUES (?, ?, ?)", (row, self.sealer.key, sealed))

    def _read(self, row: int) -> bytes | None:
        found = self._db.run("SELECT key, data FROM sealed WHERE id = ?", (row,)).fetchone()
        return None if found is None else self.sealer.open(found[1], _NAMES[row], found[0])
