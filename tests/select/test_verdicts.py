"""Verdicts: what they open, what they leave in the index, and several threads that give them at once."""

import sqlite3
import threading
from itertools import islice

import numpy as np
import pytest

from edgepers.annotate.requests import requests
from edgepers.config import Settings
from edgepers.errors import StateError
from edgepers.report.overview import contents, overview
from edgepers.report.report import report
from edgepers.select.index import Index
from edgepers.select.selector import Selector
from edgepers.select.verdicts import Verdicts
from edgepers.state.buffer import Buffer
from edgepers.state.embedding import stored_width
from edgepers.state.folder import State
from edgepers.streams import Cursor
from tests.conftest import WordEncoder
from tests.select.test_selector import stream

STORAGE = 64_000


@pytest.fixture
def kept(tmp_path):
    """A full buffer."""
    with Buffer(tmp_path / "state", STORAGE) as buffer:
        selector = Selector(buffer, WordEncoder(), policy="fifo")
        selector.offer(list(stream(200).read(Cursor(), print)))
        assert buffer.progress.evicted
        yield buffer


def opened_by(buffer: Buffer, work, monkeypatch) -> int:
    """How many records are decrypted while something is done."""
    opened = []
    real = type(buffer.sealer).open
    with monkeypatch.context() as patch:
        patch.setattr(
            type(buffer.sealer), "open", lambda *args: (opened.append(args[2]), real(*args))[1]
        )  # the class: a reader has a sealer of its own
        work()
    return sum(name.startswith("set ") for name in opened)


def test_a_verdict_opens_the_set_that_it_is_about_and_no_other(kept, monkeypatch):
    selector = Selector(kept, WordEncoder(), policy="fifo")
    for taker in (Verdicts(kept), selector):
        for reference in (None, "What I wanted to hear, at some length, so that others must leave."):
            position = max(kept.marks.unjudged())
            assert opened_by(kept, lambda: taker.annotate(position, reference, 1), monkeypatch) == 1  # noqa: B023
        newest = max(kept.marks.unjudged())
        assert opened_by(kept, lambda: taker.mark_asked(newest, 1), monkeypatch) == 1  # noqa: B023
    assert opened_by(kept, lambda: requests(selector, 2, 5, "newest"), monkeypatch) == 5
    assert opened_by(kept, kept.annotated, monkeypatch) == 4


def test_a_status_opens_no_set_and_all_that_is_known_opens_each_once(kept, monkeypatch):
    folder = kept.path.parent
    settings = Settings(storage=STORAGE)

    def status(*more) -> None:
        with Buffer(folder) as reader:
            found = report(State(folder), reader, settings) | overview(reader, settings)
            assert (found["buffer_sets"], found["asked"], found["answered"]) == (len(kept), 1, 1)
            for one in more:
                one(reader)

    Verdicts(kept).annotate(max(kept.marks), None, 1)
    assert opened_by(kept, status, monkeypatch) == 0
    assert opened_by(kept, lambda: status(contents), monkeypatch) == len(kept)


def test_a_selectors_index_after_verdicts_is_that_of_a_fresh_one(kept):
    selector = Selector(kept, WordEncoder(), policy="fifo")
    before = len(kept)
    for position in list(islice(kept.marks, 30, None))[::7]:
        assert selector.annotate(position, " ".join(f"word{i}" for i in range(position)), 1) == ""
        selector.mark_asked(max(kept.marks.unjudged()), 2)
    assert len(kept) < before, "some had to leave"
    fresh, used = Index(stored_width(WordEncoder().hidden_size), kept).kept(), selector._index.kept()
    for name in ("position", "entropy", "domain_score", "dissimilarity", "annotated", "embedding", "stored_bytes"):
        assert np.array_equal(getattr(fresh, name), getattr(used, name)), name


def test_marks_are_what_the_records_say_before_and_after_reopening(kept):
    taker = Verdicts(kept)
    taker.annotate(max(kept.marks), "Something else.", 3)
    taker.mark_asked(min(kept.marks), 200)
    records = [(k.position, k.asked, k.annotated, k.stored_bytes) for k in kept]
    with Buffer(kept.path.parent) as reader:
        for marks in (kept.marks, reader.marks):
            shown = [(p, marks[p].asked, marks[p].annotated, marks[p].stored_bytes) for p in marks]
            assert shown == records


@pytest.mark.parametrize("change", ["asked = asked + 1", "annotated = 1 - annotated"])
def test_a_mark_that_somebody_else_changes_is_a_damaged_set(kept, change):
    position = max(kept.marks)
    connection = sqlite3.connect(kept.path)
    connection.execute(f"UPDATE kept SET {change} WHERE position = ?", (position,))
    connection.commit()
    connection.close()
    with Buffer(kept.path.parent) as reader, pytest.raises(StateError, match=f"set {position} is damaged"):
        reader.check()


def test_verdicts_and_decisions_of_several_threads_come_one_after_the_other(kept):
    selector = Selector(kept, WordEncoder(), policy="fifo")
    more = list(stream(260).read(Cursor(), print))[200:]
    positions = sorted(kept.marks)[-12:]
    failed: list[BaseException] = []

    def working(work) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failed.append(error)

        return threading.Thread(target=run)

    def judge(mine) -> None:
        for position in mine:
            selector.annotate(position, "Not that.", 1)

    threads = [working(lambda: [selector.offer([arrival]) for arrival in more])]
    threads += [working(lambda mine=positions[start::3]: judge(mine)) for start in range(3)]
    threads.append(working(lambda: [requests(selector, 2, 3) for _ in range(10)]))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    progress = kept.progress
    assert (progress.position, progress.annotated) == (260, 12)
    assert len(kept) == progress.admitted - progress.evicted
    assert kept.marks.annotated == 12
    assert selector._index.kept().position.tolist() == [k.position for k in kept]
    kept.check()
