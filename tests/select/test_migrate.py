"""A buffer as schema 2 left it is sealed when it is next opened for writing."""

import json
import sqlite3
import zlib
from dataclasses import replace

import numpy as np
import pytest

from edgepers.errors import StateError
from edgepers.select import migrate as migration
from edgepers.select.buffer import Buffer
from tests.select.test_buffer import make, same

SCHEMA_2 = """
PRAGMA page_size=512; PRAGMA auto_vacuum=INCREMENTAL;
CREATE TABLE progress(id INTEGER PRIMARY KEY CHECK (id = 1), data BLOB NOT NULL);
CREATE TABLE identity(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE center(id INTEGER PRIMARY KEY CHECK (id = 1), sets INTEGER NOT NULL, rows INTEGER NOT NULL, total BLOB NOT NULL);
CREATE TABLE kept(
    position INTEGER PRIMARY KEY, domain TEXT NOT NULL, entropy REAL NOT NULL, domain_score REAL NOT NULL, asked INTEGER NOT NULL,
    verdict TEXT NOT NULL, offset INTEGER NOT NULL, line INTEGER NOT NULL, turn INTEGER NOT NULL,
    embedding BLOB NOT NULL, text BLOB NOT NULL
);
PRAGMA user_version=2;
"""
STORAGE = 100_000


def old_buffer(folder, sets: int) -> None:
    folder.mkdir()
    connection = sqlite3.connect(folder / "buffer.db")
    connection.executescript(SCHEMA_2)
    progress = {"position": sets, "admitted": sets, "evicted": 0, "rounds": 1, "a field of then": 3}
    connection.execute("INSERT INTO progress VALUES (1, ?)", (json.dumps(progress).encode().ljust(1024),))
    connection.execute("INSERT INTO identity VALUES ('model', 'm')")
    connection.execute("INSERT INTO center VALUES (1, 5, 50, ?)", (np.arange(256, dtype=np.float32).tobytes(),))
    for i in range(sets):
        k = make(i, 200)
        text = zlib.compress(json.dumps([k.id, k.question, k.response, k.reference]).encode(), 9)
        where = (k.where.offset, k.where.line, k.where.turn)
        row = (i, k.domain, k.entropy, k.domain_score, k.asked, k.verdict, *where, k.embedding.tobytes(), text)
        connection.execute(f"INSERT INTO kept VALUES ({', '.join('?' * len(row))})", row)
    connection.commit()
    connection.close()


def check(buffer: Buffer, sets: int) -> None:
    kept = list(buffer)
    assert len(kept) == buffer.progress.admitted - buffer.progress.evicted
    assert [k.position for k in kept] == list(range(sets - len(kept), sets))
    for k in kept:
        was = make(k.position, 200)
        assert np.array_equal(k.embedding, np.rint(was.embedding * 0.8)), "the scale is 8/10 of what it was"
        assert same(k, replace(was, embedding=k.embedding))
    assert (buffer.progress.position, buffer.progress.rounds, buffer.identity()) == (sets, 1, {"model": "m"})
    assert buffer.progress.center is not None
    assert (buffer.progress.center.sets, buffer.progress.center.total.tolist()) == (5, list(range(256)))
    assert buffer.disk_bytes() <= STORAGE
    buffer.check()


@pytest.mark.parametrize("sets", [0, 30, 110])
def test_what_was_readable_is_sealed(tmp_path, sets):
    old_buffer(tmp_path / "state", sets)
    with pytest.raises(StateError, match="schema 2, this edgepers reads 3; open it with 'edgepers run' once"):
        Buffer(tmp_path / "state")
    with Buffer(tmp_path / "state", STORAGE) as buffer:
        check(buffer, sets)
        assert len(buffer) >= 0.7 * sets
    data = (tmp_path / "state" / "buffer.db").read_bytes()
    assert not any(zlib.compress(json.dumps([make(i, 200).id]).encode())[:8] in data for i in range(sets))
    if sets:
        assert make(sets - 1).embedding.tobytes() not in data, "freed pages were overwritten"


@pytest.mark.parametrize("moves", [0, 1, 17])
def test_cut_off_it_goes_on(tmp_path, monkeypatch, moves):
    old_buffer(tmp_path / "state", 30)
    left = moves

    def move(*args) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        original(*args)

    original = migration._move
    monkeypatch.setattr(migration, "_move", move)
    with pytest.raises(KeyboardInterrupt):
        Buffer(tmp_path / "state", STORAGE)
    monkeypatch.undo()
    with Buffer(tmp_path / "state", STORAGE) as buffer:
        check(buffer, 30)
        assert len(buffer) == 30
