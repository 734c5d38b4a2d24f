"""Replace a state's key.

Whatever was sealed with the old one, on this disk or in a copy, can then be read by nobody.
"""

from edgepers.privacy.sealer import Sealer
from edgepers.state.commits import Commits
from edgepers.state.database import Database
from edgepers.state.kept_rows import KeptRows
from edgepers.state.sealed_rows import SealedRows

__all__ = ["Rotation"]


class Rotation:
    """Seals everything with a new key, in steps of which each stays inside the journal's share.

    Cut off anywhere, it goes on.
    """

    def __init__(self, db: Database, commits: Commits, kept: KeptRows, rows: SealedRows, sealer: Sealer) -> None:
        self._db = db
        self._commits = commits
        self._kept = kept
        self._rows = rows
        self._sealer = sealer

    def add_key(self) -> None:
        """Seal with a newer key than the retired one from now on."""
        if self._sealer.key <= self._commits.progress.retired_key:
            self._sealer.add_key()

    def run(self) -> None:
        """Seal with a new key whatever a retired one sealed, and destroy that; nothing where none is retired."""
        retired = self._commits.progress.retired_key
        if not retired:
            return
        self.add_key()
        while old := self._kept.sealed_with(retired):
            with self._commits.transaction():
                for position in old:
                    if not self._db.journal_allows(self._db.max_record_bytes):
                        break
                    self._kept.seal_again(position)
        with self._commits.transaction(self._commits.progress.key_retired(0)) as change:
            self._db.run("DELETE FROM damaged WHERE key <= ?", (retired,))
            self._rows.write_check()
            if change.progress.center is not None:
                self._rows.write_center(change.progress.center)
        self._sealer.drop_keys(older_than=retired + 1)
