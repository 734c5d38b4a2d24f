"""The buffer under encryption: what a thief, a flipped bit, a lost key and a power cut meet."""

import contextlib
import json
import os
import random
import shutil
import sqlite3

import pytest

from edgepers.errors import StateError
from edgepers.privacy.keyring import KeySource
from edgepers.state.buffer import Buffer
from tests.state.test_buffer import STORAGE, admit, make, opened, same

SETS = 40


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "state"
    with opened(folder) as buffer:
        for i in range(SETS):
            assert admit(buffer, make(i), [])
    return folder


def key_file(state):
    (found,) = (state.parent / "config" / "edgepers" / "keys").iterdir()
    return found


def everything(folder) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_no_word_of_a_set_is_on_the_disk(state):
    data = everything(state)
    for i in range(10, SETS):
        for word in (f"id-{i}".encode(), make(i).question[:8].encode(), make(i).embedding.tobytes()[:16]):
            assert word not in data


def test_without_its_key_a_state_says_where_the_key_was(state):
    key_file(state).rename(state.parent / "elsewhere.json")
    for storage in (None, STORAGE):
        with pytest.raises(StateError, match=r"its key .*json is missing"):
            Buffer(state, storage)
    with Buffer(state, keys=KeySource(state.parent / "elsewhere.json")) as buffer:
        assert len(list(buffer)) == SETS


def test_a_key_of_the_same_state_that_does_not_fit_is_one_line(state):
    file = key_file(state)
    ring = json.loads(file.read_text())
    ring["keys"] = json.dumps({"1": os.urandom(32).hex()}).encode().hex()
    file.write_text(json.dumps(ring))
    with pytest.raises(StateError, match=r"does not fit; give the right --key-file"):
        Buffer(state)


def change_a_byte(state, position: int) -> None:
    connection = sqlite3.connect(state / "buffer.db")
    (data,) = connection.execute("SELECT data FROM kept WHERE position = ?", (position,)).fetchone()
    at = random.Random(position).randrange(len(data))
    connection.execute(
        "UPDATE kept SET data = ? WHERE position = ?", (data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :], position)
    )
    connection.commit()
    connection.close()


def test_a_changed_byte_is_named_and_quarantine_sets_it_aside(state):
    change_a_byte(state, 7)
    with Buffer(state) as buffer, pytest.raises(StateError, match=r"set 7 is damaged; .* --quarantine"):
        list(buffer)
    with Buffer(state) as buffer, pytest.raises(StateError, match="set 7 is damaged"):
        buffer.check()
    with Buffer(state, STORAGE, quarantine=True) as buffer:
        assert [kept.position for kept in buffer] == [i for i in range(SETS) if i != 7]
        assert (buffer.progress.quarantined, buffer.progress.evicted) == (1, 1)
        assert len(buffer) == buffer.progress.admitted - buffer.progress.evicted
    with opened(state) as buffer:
        buffer.check()
        assert buffer.progress.quarantined == 1


def test_records_cannot_be_exchanged_nor_taken_from_another_state(state, tmp_path):
    with opened(tmp_path / "other") as other:
        admit(other, make(3), [])
    theirs = sqlite3.connect(tmp_path / "other" / "buffer.db").execute("SELECT data FROM kept").fetchone()[0]
    connection = sqlite3.connect(state / "buffer.db")
    (fourth,) = connection.execute("SELECT data FROM kept WHERE position = 4").fetchone()
    for data in (fourth, theirs):
        connection.execute("UPDATE kept SET data = ? WHERE position = 3", (data,))
        connection.commit()
        with Buffer(state) as buffer, pytest.raises(StateError, match="set 3 is damaged"):
            list(buffer)
    connection.close()


def test_a_damaged_progress_or_center_is_named(state):
    connection = sqlite3.connect(state / "buffer.db")
    for row, name in ((1, "progress"), (2, "center")):
        (data,) = connection.execute("SELECT data FROM sealed WHERE id = ?", (row,)).fetchone()
        connection.execute("UPDATE sealed SET data = zeroblob(length(data)) WHERE id = ?", (row,))
        connection.commit()
        with pytest.raises(StateError, match=f"record {name} is damaged"):
            Buffer(state)
        connection.execute("UPDATE sealed SET data = ? WHERE id = ?", (data, row))
        connection.commit()
    connection.close()


def test_after_forgetting_no_copy_from_before_can_be_read(state):
    copy = shutil.copytree(state, state.parent / "copy")
    with opened(state) as buffer:
        buffer.forget([3, 5], buffer.progress)
        buffer.rotate()
        assert [kept.position for kept in buffer] == [i for i in range(SETS) if i not in (3, 5)]
        assert all(same(make(kept.position), kept) for kept in buffer)
        assert (buffer.sealer.key, buffer.progress.forgotten, buffer.progress.retired_key) == (2, 2, 0)
        assert buffer.disk_bytes() <= STORAGE
        buffer.check()
        assert admit(buffer, make(SETS), [])
    with pytest.raises(StateError, match="does not fit"):
        Buffer(copy)


class PowerCut(BaseException):
    pass


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 5, 20, SETS, SETS + 2, SETS + 4])
def test_a_rotation_that_is_cut_off_goes_on(state, after):
    steps = 0

    def cut(name, original):
        def call(*args, **kwargs):
            nonlocal steps
            steps += 1
            if steps > after:
                raise PowerCut(name)
            return original(*args, **kwargs)

        return call

    with opened(state) as buffer:
        buffer.forget([0], buffer.progress)
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(PowerCut):
            patch.setattr(os, "fsync", cut("fsync", os.fsync))  # of the ring's file; SQLite's own go elsewhere
            patch.setattr(buffer._kept, "seal_again", cut("reseal", buffer._kept.seal_again))
            buffer.rotate()
    with Buffer(state) as reader:
        assert len(list(reader)) == SETS - 1
    with opened(state) as buffer:
        buffer.rotate()
        assert all(same(make(kept.position), kept) for kept in buffer)
        assert (len(buffer), buffer.progress.retired_key, buffer.sealer.key) == (SETS - 1, 0, 2)
