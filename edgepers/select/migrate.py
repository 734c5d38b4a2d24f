"""Bring a buffer of an older schema up to date, inside the same budget; cut off at any point, it goes on when opened again.

Schema 2 kept everything readable. Its sets are sealed one by one, and what their pages held is overwritten.
"""

import json
import zlib
from dataclasses import fields
from typing import Any

import numpy as np

from edgepers.dialogue import Cursor
from edgepers.privacy.keyring import KeyRing, KeySource
from edgepers.privacy.sealer import Sealer
from edgepers.select.database import SCHEMA, SCHEMA_VERSION, Database
from edgepers.select.embedding import Int8, scale
from edgepers.select.records import CenterSum, KeptSet, Progress, pack_record
from edgepers.select.sealed_rows import SealedRows

__all__ = ["OLDEST", "migrate"]

OLDEST = 2  # schema 1 was replaced before anything was released with it
_ROOM_PAGES = 24  # for the new tables while the old ones are there


def migrate(db: Database, keys: KeySource) -> None:
    """Schema 2 to 3, with a new key ring."""
    began = db.run("SELECT value FROM identity WHERE key = 'state'").fetchone()
    folder = db.path.parent
    ring = KeyRing.open(keys, began[0], folder) if began else KeyRing.create(keys, folder)
    sealer = Sealer(ring)
    db.set_limit(db.run(f"SELECT coalesce(max(length(total)), 0) FROM {'old_center' if began else 'center'}").fetchone()[0])
    db.run("PRAGMA secure_delete=ON")
    try:
        if not began:
            while db.free_pages() < _ROOM_PAGES and db.run("SELECT count(*) FROM kept").fetchone()[0]:
                _evict_oldest(db)
            _make_tables(db, ring.state)
        while row := db.run("SELECT * FROM old_kept ORDER BY position LIMIT 1").fetchone():
            _move(db, sealer, _kept(row))
        _finish(db, sealer)
    finally:
        if db.in_transaction:
            db.run("ROLLBACK")
        db.run("PRAGMA secure_delete=OFF")


def _evict_oldest(db: Database) -> None:
    """In a full buffer the oldest sets without an annotation make room for the new tables."""
    progress = _progress(db, "progress")
    progress["evicted"] += 1
    db.run("BEGIN IMMEDIATE")
    db.run("DELETE FROM kept WHERE position = (SELECT position FROM kept ORDER BY verdict != '', position LIMIT 1)")
    db.run("UPDATE progress SET data = ?", (json.dumps(progress).encode(),))
    db.run("COMMIT")


def _make_tables(db: Database, state: str) -> None:
    db.run("BEGIN IMMEDIATE")
    for name in ("kept", "progress", "center"):
        db.run(f"ALTER TABLE {name} RENAME TO old_{name}")
    for statement in filter(str.strip, SCHEMA.split(";")):
        if "identity" not in statement:
            db.run(statement)
    db.run("INSERT INTO identity VALUES ('state', ?)", (state,))
    db.run("COMMIT")


def _move(db: Database, sealer: Sealer, kept: KeptSet) -> None:
    db.run("BEGIN IMMEDIATE")
    db.run("DELETE FROM old_kept WHERE position = ?", (kept.position,))
    sealed = sealer.seal(pack_record(kept), f"set {kept.position}")
    db.run("INSERT INTO kept VALUES (?, ?, ?)", (kept.position, sealer.key, sealed))
    db.run("COMMIT")


def _finish(db: Database, sealer: Sealer) -> None:
    known = {f.name for f in fields(Progress)}
    progress = Progress(**{name: value for name, value in _progress(db, "old_progress").items() if name in known})
    center = db.run("SELECT sets, rows, total FROM old_center").fetchone()
    rows = SealedRows(db, sealer)
    db.run("BEGIN IMMEDIATE")
    rows.write_check()
    rows.write_progress(progress)
    if center is not None:
        rows.write_center(CenterSum(center[0], center[1], np.frombuffer(center[2], np.float32)))
    for name in ("kept", "progress", "center"):
        db.run(f"DROP TABLE old_{name}")
    db.run(f"PRAGMA user_version={SCHEMA_VERSION}")
    db.run("COMMIT")
    db.version = SCHEMA_VERSION
    (db.path.parent / "rounds" / "variations.jsonl").unlink(missing_ok=True)  # readable, and soon written anew


def _progress(db: Database, table: str) -> dict[str, Any]:
    found = db.run(f"SELECT data FROM {table}").fetchone()
    values: dict[str, Any] = {"evicted": 0} if found is None else json.loads(found[0])
    return values


def _rescaled(embedding: Int8) -> Int8:
    """Schema 2 clipped at 8 standard deviations."""
    width = len(embedding)
    was = 127 * np.sqrt(width) / 8 if width > 64 else 127.0
    rescaled: Int8 = np.clip(np.rint(embedding * (scale(width) / was)), -127, 127).astype(np.int8)
    return rescaled


def _kept(row: tuple[Any, ...]) -> KeptSet:
    """A row of schema 2."""
    position, domain, entropy, domain_score, asked, verdict, offset, line, turn, embedding, text = row
    identity, question, response, reference = json.loads(zlib.decompress(text))
    return KeptSet(
        position=position,
        id=identity or "",
        question=question or "",
        response=response or "",
        reference=reference,
        domain=domain,
        entropy=entropy,
        domain_score=domain_score,
        embedding=_rescaled(np.frombuffer(embedding, dtype=np.int8)),
        where=Cursor(offset, line, turn=turn),
        asked=asked,
        verdict=verdict,
    )
