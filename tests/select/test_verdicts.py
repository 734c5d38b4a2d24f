"""Verdicts: what they open, what they leave in the index, and several threads that give them at once."""

import sqlite3
import threading
from itertools import islice

import numpy as np
import pytest

from edgepers.annotate.requests import annotate, requests
from edgepers.annotate.sources import SKIPPED, Answer
from edgepers.config import Settings
from edgepers.errors import StateError, UsageError
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


def test_a_thumbs_down_is_a_verdict_that_a_correction_replaces_and_that_replaces_one(kept):
    taker = Verdicts(kept)
    position = max(kept.marks.unjudged())
    for reference, bad, verdict in ((None, True, "bad"), ("Not that.", False, "corrected"), (None, True, "bad")):
        assert taker.annotate(position, reference, 1, bad=bad) == ""
        found = kept.get(position)
        assert (found.verdict, found.reference, found.rejected) == (verdict, reference, bad)
        assert kept.marks.annotated == 1 and position not in set(kept.marks.unjudged())
    assert kept.progress.annotated == 3


def test_a_newcomer_does_not_drive_out_what_was_called_wrong(kept):
    selector = Selector(kept, WordEncoder(), policy="fifo")
    oldest = min(kept.marks)
    selector.annotate(oldest, None, 1, bad=True)
    selector.offer(list(stream(400).read(Cursor(), print))[200:])
    assert min(kept.marks) == oldest and sorted(kept.marks)[1] > oldest + 1


def test_what_was_called_wrong_is_asked_about_last(kept):
    taker = Verdicts(kept)
    first = requests(taker, 1, 1)[0].position
    taker.annotate(first, None, 1, bad=True)
    assert first not in [one.position for one in requests(taker, 1, 1000)]  # not twice in one round
    later = [one.position for one in requests(taker, 2, 1000)]
    assert later[-1] == first and len(later) == len(set(later)) == len(kept)


def test_an_answer_that_says_again_that_it_was_wrong_is_none_and_a_correction_is_taken(kept):
    taker = Verdicts(kept)
    wrong = max(kept.marks)
    taker.annotate(wrong, None, 1, bad=True)
    said = {wrong: Answer(None, bad=True)}
    assert annotate(taker, lambda one: said.get(one.position), 2, 5) == {}
    assert kept.progress.annotated == 1
    said[wrong] = SKIPPED
    assert annotate(taker, lambda one: said.get(one.position), 2, 5) == {"skipped": 1}
    assert (kept.get(wrong).verdict, kept.get(wrong).asked) == ("bad", 1)
    said[wrong] = Answer("Not that.")
    assert annotate(taker, lambda one: said.get(one.position), 2, 5) == {"corrected": 1}


@pytest.mark.parametrize("empty", ["", " \n"])
def test_an_empty_correction_is_refused_by_the_sets_name(kept, empty):
    position = max(kept.marks)
    name = kept.get(position).name
    with pytest.raises(UsageError, match=rf"^set {name}: its correction is empty; give the wanted response"):
        Verdicts(kept).annotate(position, empty, 1)
    assert (kept.progress.annotated, kept.get(position).verdict) == (0, "")


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
    more = list(stream(220).read(Cursor(), print))[200:]  # too few for the sets judged here to leave
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
    assert (progress.position, progress.annotated) == (220, 12)
    assert len(kept) == progress.admitted - progress.evicted
    assert kept.marks.annotated == 12
    assert selector._index.kept().position.tolist() == [k.position for k in kept]
    kept.check()
