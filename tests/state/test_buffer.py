import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepers.config import MIN_STORAGE_BYTES
from edgepers.errors import BudgetError, StateError
from edgepers.state.buffer import Buffer
from edgepers.state.progress import Progress
from edgepers.state.records import KeptSet
from edgepers.streams import Cursor

STORAGE = 100_000


def make(position: int, size: int = 300) -> KeptSet:
    rng = random.Random(position)
    text = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz ") for _ in range(size))
    return KeptSet(
        position,
        f"id-{position}",
        text,
        "r",
        None,
        "food",
        0.5,
        0.25,
        np.full(256, position % 100, np.int8),
        Cursor(position, position, 0),
    )


def admit(buffer: Buffer, kept: KeptSet, order: list[int]) -> bool:
    count = buffer.room_for(Buffer.row_bytes(kept), order)
    if count is None or Buffer.row_bytes(kept) > buffer.max_record_bytes:
        return False
    buffer.admit(kept, order[:count], after(buffer, kept.position))
    return True


def after(buffer: Buffer, position: int) -> Progress:
    """The progress when the set at a position is decided on."""
    return buffer.progress.decided(position, 0, buffer.progress.center, full=False)


def opened(folder, storage=STORAGE) -> Buffer:
    buffer = Buffer(folder, storage)
    if not buffer.identity():
        buffer.start({"model": "m"}, 256)
    return buffer


def same(a: KeptSet, b: KeptSet) -> bool:
    as_read = {"embedding": b.embedding, "loss": b.loss, "stored_bytes": b.stored_bytes}
    return replace(a, **as_read) == b and np.array_equal(a.embedding, b.embedding)


def test_kept_sets_come_back_as_they_were_after_reopening(tmp_path):
    sets = [make(i, 100 + 40 * i) for i in range(20)]
    with opened(tmp_path) as buffer:
        for kept in sets:
            assert admit(buffer, kept, [])
        progress = buffer.progress
    with opened(tmp_path) as buffer:
        assert all(same(a, b) for a, b in zip(buffer, sets, strict=True))
        assert buffer.progress.pack() == progress.pack()
        buffer.check()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["admit", "admit", "admit", "annotate", "reopen"]), st.integers(20, 3500)),
        max_size=80,
    ),
    st.randoms(),
)
def test_budget_holds_and_counts_obey_the_law_after_any_operations(tmp_path_factory, steps, rng):
    folder = tmp_path_factory.mktemp("state")
    buffer, position, model = opened(folder), 0, {}
    try:
        for step, size in steps:
            order = list(model)
            rng.shuffle(order)
            if step == "admit":
                kept = make(position, size)
                before = dict(model)
                if admit(buffer, kept, order):
                    model = {p: before[p] for p in before if p in set(k.position for k in buffer)} | {position: kept}
                position += 1
            elif step == "annotate" and order:
                annotated = replace(model[order[0]], reference=make(1, size).question, verdict="corrected")
                count = buffer.room_for(Buffer.row_bytes(annotated), order)
                if count is not None and Buffer.row_bytes(annotated) <= buffer.max_record_bytes:
                    gone = order[1 : max(count, 1)]
                    buffer.replace(annotated, gone, buffer.progress)
                    model = {p: k for p, k in model.items() if p not in gone} | {annotated.position: annotated}
            elif step == "reopen":
                buffer.close()
                buffer = opened(folder)
            assert buffer.disk_bytes() <= STORAGE
            assert buffer.progress.peak_bytes <= STORAGE
            assert len(buffer) == buffer.progress.admitted - buffer.progress.evicted
            assert {k.position for k in buffer} == set(model)
        assert all(same(k, model[k.position]) for k in buffer)
        buffer.check()
    finally:
        buffer.close()


def test_budget_is_never_passed_as_seen_from_outside_in_the_middle_of_a_transaction(tmp_path):
    buffer = opened(tmp_path)
    highest = 0

    def watch(_: str) -> None:
        nonlocal highest
        highest = max(highest, sum(f.stat().st_size for f in tmp_path.iterdir()))

    buffer._db._connection.set_trace_callback(watch)  # called before each statement, inside transactions too
    for i in range(400):
        order = [k.position for k in buffer]
        random.Random(i).shuffle(order)
        admit(buffer, make(i, random.Random(i).choice([50, 300, 900, 2500])), order)
    assert STORAGE * 0.75 < highest <= STORAGE
    assert buffer.progress.peak_bytes >= highest
    buffer.close()


def test_a_smaller_budget_shrinks_the_file_and_keeps_annotated_sets_longest(tmp_path):
    with opened(tmp_path, 200_000) as buffer:
        for i in range(200):
            assert admit(buffer, make(i, 800), [])
        buffer.replace(replace(buffer.get(0), verdict="good"), [], buffer.progress)
        assert buffer.disk_bytes() > 110_000
    with opened(tmp_path, STORAGE) as buffer:
        assert buffer.over_budget
        buffer.shrink([*range(1, 200), 0])
        assert not buffer.over_budget
        assert buffer.disk_bytes() <= STORAGE
        positions = [kept.position for kept in buffer]
        assert positions[0] == 0
        assert positions[1:] == list(range(200 - len(positions) + 1, 200))
        assert len(buffer) == buffer.progress.admitted - buffer.progress.evicted
        buffer.check()


def test_a_row_that_a_smaller_budget_would_not_take_is_not_written_again(tmp_path):
    with opened(tmp_path, 1_000_000) as buffer:
        assert admit(buffer, make(0, 20_000), []) and admit(buffer, make(1), [])
    with opened(tmp_path, STORAGE) as buffer:
        buffer.shrink([])
        assert Buffer.row_bytes(buffer.get(0)) > buffer.max_record_bytes
        before = buffer.wear()["written_bytes"]
        assert not buffer.mark_asked(0, 1) and buffer.get(0).asked == 0
        assert buffer.wear()["written_bytes"] == before
        assert buffer.mark_asked(1, 1) and buffer.get(1).asked == 1


def test_that_a_set_was_asked_about_is_noted_however_full_the_buffer_is(tmp_path):
    """A row grows by a byte or none: what `fits` asks of a newcomer is more than is left."""
    sizes = random.Random(1)
    for number in range(8):
        with opened(tmp_path / str(number), MIN_STORAGE_BYTES) as buffer:
            i = 0
            while admit(buffer, make(i, sizes.randint(50, 900)), []):
                i += 1
            for kept in list(buffer):
                assert buffer.mark_asked(kept.position, 1000 + number)
            assert all(kept.asked == 1000 + number for kept in buffer) and len(buffer) == i
            assert buffer.disk_bytes() <= MIN_STORAGE_BYTES
            buffer.check()


def test_a_failed_transaction_changes_nothing(tmp_path):
    with opened(tmp_path) as buffer:
        admit(buffer, make(0), [])
        before = buffer.progress.pack()
        with pytest.raises(StateError, match="set 99 was to leave"):
            buffer.admit(make(1), [99], buffer.progress)
        with pytest.raises(BudgetError, match="does not fit"):
            buffer.admit(make(2, 120_000), [], buffer.progress)
        assert buffer.progress.pack() == before
        assert [kept.position for kept in buffer] == [0]


def test_a_second_writer_is_refused_in_one_line_and_readers_are_not(tmp_path):
    with opened(tmp_path) as buffer:
        admit(buffer, make(0), [])
        with pytest.raises(StateError, match="another edgepers process"):
            Buffer(tmp_path, STORAGE)
        with Buffer(tmp_path) as reader:
            assert len(reader) == 1
            admit(buffer, make(1), [])
            assert (len(reader), list(reader.marks)) == (2, [0, 1]), "a reader sees what was written since"


def test_readers_wait_while_it_is_held_and_get_in_after(tmp_path, monkeypatch):
    monkeypatch.setattr("edgepers.state.database._BUSY_SECONDS", 0.05)
    read = "import sys; from edgepers.state.buffer import Buffer; print(len(Buffer(sys.argv[1])))"
    with opened(tmp_path) as buffer:
        for _ in range(2):
            with buffer.exclusive():
                admit(buffer, make(buffer.progress.position), [])
                with pytest.raises(StateError, match="has held it"):
                    Buffer(tmp_path)
            done = subprocess.run([sys.executable, "-c", read, tmp_path], capture_output=True, text=True, check=True)
            assert int(done.stdout) == len(buffer)
        with pytest.raises(KeyboardInterrupt), buffer.exclusive():
            raise KeyboardInterrupt
        with Buffer(tmp_path) as reader:
            assert len(reader) == 2


def test_whoever_reads_first_after_a_kill_rolls_back_what_was_half_done(tmp_path):
    with opened(tmp_path / "state") as buffer:
        for i in range(30):
            admit(buffer, make(i), [])
        buffer._db.run("PRAGMA cache_size=2")
        buffer._db.run("BEGIN IMMEDIATE")
        for i in range(20):
            buffer._db.run("DELETE FROM kept WHERE position = ?", (i,))
        shutil.copytree(tmp_path / "state", tmp_path / "killed")
        buffer._db.run("ROLLBACK")
    assert (tmp_path / "killed" / "buffer.db-journal").stat().st_size > 0
    with Buffer(tmp_path / "killed") as reader:
        reader.check()
        assert len(list(reader)) == 30
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._db.run("DELETE FROM kept")


def test_what_cannot_be_a_buffer_is_refused(tmp_path):
    with pytest.raises(StateError, match="nothing there yet"):
        Buffer(tmp_path / "none")
    with pytest.raises(BudgetError, match="too small"):
        Buffer(tmp_path / "small", MIN_STORAGE_BYTES - 1)
    (tmp_path / "buffer.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StateError, match="not a readable buffer"):
        Buffer(tmp_path, STORAGE)


def test_a_newer_schema_is_refused(tmp_path):
    opened(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "buffer.db")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StateError, match="schema 99"):
        Buffer(tmp_path, STORAGE)


def test_acknowledged_admissions_survive_kill_at_any_moment(tmp_path):
    child = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from test_buffer import admit, make, opened
        import random
        buffer = opened({str(tmp_path)!r})
        print("ready", flush=True)
        for i in range(buffer.progress.position, 100_000):
            order = [k.position for k in buffer]
            random.Random(i).shuffle(order)
            if admit(buffer, make(i, 200 + i % 700), order):
                print(i, flush=True)
    """)
    acknowledged = -1
    for attempt in range(12):
        process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(random.Random(attempt).randrange(1, 60)):
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        for line in process.stdout.read().split():
            acknowledged = int(line)
        process.wait()
        process.stdout.close()
        assert sum(f.stat().st_size for f in tmp_path.iterdir()) <= STORAGE
        with opened(tmp_path) as buffer:
            buffer.check()
            assert buffer.progress.position >= acknowledged + 1
            assert any(kept.position == acknowledged for kept in buffer) or buffer.progress.evicted
            assert len(buffer) == buffer.progress.admitted - buffer.progress.evicted
