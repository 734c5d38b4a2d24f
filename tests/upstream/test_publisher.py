"""The upstream follows what is published, keeps nothing that spoils it, and is told again where it was cut off."""

import time

import pytest

from edgepers.errors import UpstreamError
from edgepers.evaluate.verdict import Verdict
from edgepers.upstream import publisher as module
from edgepers.upstream.publisher import Publisher, Served, read_served
from tests.serve.running import until

FINE = Verdict(True, "", None, None)
SPOILT = Verdict(False, "9 of 24 general questions are answered with what it was trained on", None, None)
GONE = "http://there: cannot be reached (ConnectError); is it up?"


class There:
    """An upstream that remembers what it was given."""

    kind, serves = "test", "tiny-personal"

    def __init__(self):
        self.given = []
        self.fails = self.closed = 0
        self.foreign = False
        self.lost = False

    def require_free(self):
        if self.foreign:
            raise UpstreamError("a model tiny-personal is there, and not from here")

    def is_there(self):
        return bool(self.given) and not self.lost

    def publish(self, adapter):
        if self.fails:
            self.fails -= 1
            raise UpstreamError(GONE)
        self.given.append(adapter and adapter.name)
        self.lost = False

    def close(self):
        self.closed += 1


class Box:
    """A state with its adapters, and a publisher over it."""

    def __init__(self, folder):
        self.folder, self.there, self.lines = folder, There(), []
        self.published, self.verdicts, self.judged = "", {}, []
        for name in ("0001", "0002", "0003"):
            (self.folder / name).mkdir()
        self.publisher = self.new()

    def new(self, upstream="http://there tiny"):
        return Publisher(
            lambda: self.there,
            upstream=upstream,
            wanted=lambda: self.published,
            folder_of=lambda name: folder if name and (folder := self.folder / name).is_dir() else None,
            judge=self.judge,
            file=self.folder / "served.json",
            log=self.lines.append,
        )

    def judge(self, upstream, name, stopped):
        self.judged.append(name)
        verdict = self.verdicts.get(name, FINE)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    def publish(self, name):
        self.published = name
        self.publisher.bring_up_to_date()

    def withdraw(self, name):
        (self.folder / name).rmdir()


@pytest.fixture
def box(tmp_path):
    made = Box(tmp_path)
    made.publisher.bring_up_to_date()
    assert made.there.given == [None]  # the name is there from the first day
    made.there.given.clear()
    return made


def test_each_new_adapter_is_given_once_and_judged(box):
    box.publish("0001")
    box.publish("0001")
    box.publish("0002")
    assert box.there.given == box.judged == ["0001", "0002"]
    assert box.new().served == box.publisher.served == Served("tiny-personal", "0002", "0002")
    assert (box.folder / "served.json").stat().st_mode & 0o777 == 0o600
    box.publish("")  # rolled back to the base model
    assert box.there.given[2:] == [None] and box.judged == ["0001", "0002"]
    assert box.lines[-1] == "at the upstream (tiny-personal): it answers as the base model does"
    assert box.there.closed == 4


def test_one_that_spoils_its_answers_is_taken_back_and_not_given_again(box):
    box.publish("0001")
    box.verdicts["0002"] = SPOILT
    box.publish("0002")
    box.publish("0002")
    assert box.there.given == ["0001", "0002", "0001"]
    assert box.publisher.served == box.new().served == Served("tiny-personal", "0001", "0001", "0002", SPOILT.reason)
    assert "adapter 0002 spoils its answers (9 of 24 general" in box.lines[-1]
    assert box.lines[-1].endswith("; adapter 0001 answers")
    box.publish("0003")
    assert box.there.given[3:] == ["0003"] and box.publisher.served.refused == ""


def test_the_first_one_that_spoils_leaves_the_base_model(box):
    box.verdicts["0001"] = SPOILT
    box.publish("0001")
    assert box.there.given == ["0001", None] and box.publisher.served.adapter == ""


def test_what_was_forgotten_does_not_stay_there_whatever_is_wanted(box):
    box.publish("0001")
    box.verdicts["0002"] = SPOILT
    box.publish("0002")
    box.withdraw("0001")  # what it learned from was forgotten; 0002 is still wanted, and was refused
    box.publisher.bring_up_to_date()
    assert box.there.given[-1] is None and "0001" not in box.there.given[3:]
    box.published = ""
    box.withdraw("0002")
    box.publisher.bring_up_to_date()
    assert box.publisher.served.adapter == "" and box.there.given[-1] is None


def test_what_cannot_be_judged_does_not_go_on_answering_and_is_given_again(box):
    box.publish("0001")
    box.verdicts["0002"] = UpstreamError(GONE)
    box.publish("0002")
    assert box.publisher.failure == GONE and box.there.given == ["0001", "0002", "0001"]
    assert (box.publisher.served.adapter, box.publisher.served.given) == ("0001", "0001")
    box.publisher.bring_up_to_date()
    assert box.there.given[3:] == ["0002", "0001"]
    assert len([line for line in box.lines if "not published" in line]) == 1  # not each time that it is tried
    del box.verdicts["0002"]
    box.publisher.bring_up_to_date()
    assert box.publisher.served.adapter == "0002" and box.publisher.failure == ""


def test_where_it_was_cut_off_nobody_knows_and_it_is_given_again_even_if_the_old_one_is_wanted(box):
    box.publish("0001")
    box.there.fails = 2  # while the new one is given, and while the old one is given back
    box.publish("0002")
    assert (box.publisher.served.adapter, box.publisher.served.given) == ("0001", "0002")
    again = box.new()  # as after a restart
    box.published = "0001"
    again.bring_up_to_date()
    assert (
        box.there.given[-1] == "0001" and again.failure == "" and again.served.given == again.served.adapter == "0001"
    )


def test_killed_while_it_gave_one_it_gives_what_is_published_then(box):
    box.publish("0001")

    class Killed(BaseException):
        """As a signal would."""

    box.verdicts["0002"] = None
    box.judge = lambda *_: (_ for _ in ()).throw(Killed)
    box.publisher = box.new()
    with pytest.raises(Killed):
        box.publish("0002")
    assert read_served(box.folder / "served.json")["http://there tiny"].given == "0002"
    box.published = ""
    box.withdraw("0002")
    box.new().bring_up_to_date()
    assert box.there.given[-1] is None


def test_it_waits_longer_each_time_that_it_fails_in_the_same_way(box):
    box.there.fails = 99
    pauses = []
    for _ in range(9):
        box.publish("0001")
        pauses.append(box.publisher._pause)
    assert pauses[:3] == [60, 120, 240] and pauses[-1] == 900
    box.there.fails = 0
    box.publish("0001")
    assert box.publisher._pause == 60 and box.publisher.failure == ""


@pytest.mark.parametrize("error", [KeyError("id"), ValueError("text that was said"), AttributeError("items")])
def test_whatever_an_upstream_answers_the_thread_goes_on_and_quotes_nothing(box, error):
    box.verdicts["0001"] = error
    box.publish("0001")
    assert box.publisher.failure == f"{type(error).__name__}, which is not expected of it"
    assert not any("said" in line for line in box.lines)
    box.publish("0002")
    assert box.publisher.served.adapter == "0002"


def test_what_somebody_else_has_made_is_not_replaced_and_what_was_lost_is_made_again(box):
    other = box.new("http://there other")
    box.there.foreign = True
    other.bring_up_to_date()
    assert "is there, and not from here" in other.failure and box.there.given == []
    box.publish("0001")  # this one is known
    box.there.lost = True
    box.new().bring_up_to_date()
    assert box.there.given == ["0001", "0001"]


def test_each_upstream_has_its_own_record_and_what_another_one_may_have_is_said(box, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    box.publish("0001")
    other = box.new("http://there other")
    assert other.served == Served() and box.new().served.adapter == "0001"
    box.withdraw("0001")
    box.published = ""
    other.begin()
    until(lambda: other.served.given == "")
    other.close()
    assert any("http://there tiny may still have adapter 0001, which is gone here" in line for line in box.lines)
    assert set(read_served(box.folder / "served.json")) == {"http://there tiny", "http://there other"}


def test_a_file_that_cannot_be_read_begins_anew(box):
    box.publish("0001")
    for text in ("", "{", "[]", '{"http://there tiny": 3}', '{"http://there tiny": {"colour": 1}}'):
        (box.folder / "served.json").write_text(text)
        assert box.new().served == Served()


def test_it_looks_by_itself_and_takes_back_what_was_forgotten_before_it_ends(box, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    box.publisher = box.new()
    box.there.fails = 1
    box.published = "0001"
    box.publisher.begin()
    until(lambda: box.publisher.served.adapter == "0001")
    box.published = "0002"
    until(lambda: box.publisher.served.adapter == "0002")
    monkeypatch.setattr(module, "LOOK_SECONDS", 300)
    time.sleep(0.05)
    box.withdraw("0002")
    box.publisher.close()
    assert box.there.given[-1] is None and box.publisher.served.given == ""
    assert not box.publisher._thread.is_alive()
