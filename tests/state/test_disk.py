"""A disk that fills up, that cannot be written, and a clock that runs backwards."""

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from edgepers.errors import BudgetError, EdgepersError, StateError
from edgepers.state.buffer import Buffer
from tests.state.test_buffer import STORAGE, admit, after, make, opened, same

ENOUGH = 250  # sets, to fill the budget and more


def fill(folder: Path, first: int = 0) -> tuple[int, str]:
    """Admit until something refuses; how many were acknowledged, and what was said."""
    position = first
    try:
        with opened(folder) as buffer:
            order = [kept.position for kept in buffer]
            while position < ENOUGH:
                kept = make(position)
                count = buffer.room_for(buffer.row_bytes(kept), order)
                assert count is not None
                buffer.admit(kept, order[:count], after(buffer, position))
                order = [*order[count:], position]
                position += 1
    except EdgepersError as error:
        return position, str(error)
    return position, ""


def begun(folder: Path) -> bool:
    """Whether the file was ever made: before its first transaction it has no schema, and nothing was promised."""
    if not (folder / "buffer.db").exists():
        return False
    connection = sqlite3.connect(folder / "buffer.db")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return bool(version)


def whole(folder: Path, least: int) -> None:
    if not begun(folder):
        assert least == 0
        return
    with Buffer(folder) as buffer:
        buffer.check()
        assert buffer.progress.position >= least
        kept = list(buffer)
        assert all(same(make(k.position), k) for k in kept)
        assert len(kept) == buffer.progress.admitted - buffer.progress.evicted
        assert not least or kept[-1].position >= least - 1


def limited(folder: Path, most: int) -> tuple[int, str]:
    """`fill` in a child whose files may not pass `most` bytes."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            count, told = fill(folder)
            os.write(write, f"{count}\n{told}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as answer:
        count, told = answer.read().split("\n", 1)
    os.waitpid(child, 0)
    return int(count), told


@pytest.mark.parametrize("most", [0, 512, 2048, 6500, 14_000, 33_333])
def test_where_no_byte_more_can_be_written_nothing_kept_is_harmed(tmp_path, most):
    count, told = limited(tmp_path / "state", most)
    assert told.count("\n") == 0
    assert "cannot be written" in told or "is full" in told or "nothing kept was harmed" in told, told
    whole(tmp_path / "state", count)
    assert fill(tmp_path / "state", count)[1] == "", "with room again it goes on"
    whole(tmp_path / "state", ENOUGH)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own; whoever may not mount is told."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        not shutil.which("mount")
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_smaller_than_the_budget_is_one_line(small_disk):
    count, told = fill(small_disk / "state")
    assert count > 20
    assert "the disk is full; nothing kept was harmed" in told
    whole(small_disk / "state", count)
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    assert fill(small_disk / "state", count)[1] == ""
    whole(small_disk / "state", ENOUGH)


def test_a_disk_that_is_filled_by_others_is_one_line(small_disk):
    subprocess.run(["mount", "-o", "remount,size=200k", small_disk], check=True)
    with opened(small_disk / "state") as buffer:
        for i in range(10):
            admit(buffer, make(i), [])
        with contextlib.suppress(OSError), (small_disk / "others").open("wb", buffering=0) as others:
            while True:
                others.write(bytes(512))
        with pytest.raises(BudgetError, match="the disk is full; nothing kept was harmed"):
            for i in range(10, 60):
                admit(buffer, make(i), [])
        held = len(buffer)
        (small_disk / "others").unlink()
        assert admit(buffer, make(60), [])
        assert len(buffer) == held + 1
        buffer.check()


def test_a_disk_that_cannot_be_written_is_one_line_and_can_be_read(small_disk):
    with opened(small_disk / "state") as buffer:
        admit(buffer, make(0), [])
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises((StateError, OSError)) as told:
        Buffer(small_disk / "state", STORAGE)
    assert len(str(told.value).splitlines()) == 1
    with Buffer(small_disk / "state") as buffer:
        assert len(buffer) == 1


def test_damage_is_seen_whatever_was_acknowledged(tmp_path):
    """The check above is itself checked: with nothing acknowledged it must not pass over a page that is spoiled."""
    fill(tmp_path / "state")
    data = bytearray((tmp_path / "state" / "buffer.db").read_bytes())
    data[-400:] = bytes(400)
    (tmp_path / "state" / "buffer.db").write_bytes(data)
    with pytest.raises(StateError, match="damaged"):
        whole(tmp_path / "state", 0)


def test_a_clock_that_runs_backwards_changes_nothing(tmp_path, monkeypatch):
    now = 2e9

    def backwards() -> float:
        nonlocal now
        now -= 3600
        return now

    monkeypatch.setattr(time, "time", backwards)
    assert fill(tmp_path / "state") == (ENOUGH, "")
    whole(tmp_path / "state", ENOUGH)
