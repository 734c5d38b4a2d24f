"""The upstream follows what is published, keeps nothing that spoils it, and is told again where it was cut off."""

import json

import pytest

from edgepers.errors import UpstreamError
from edgepers.evaluate.verdict import Verdict
from edgepers.upstream import publisher as module
from edgepers.upstream.publisher import Publisher, Served

FINE, SPOILT = Verdict(True, "", None, None), Verdict(False, "9 of 24 general questions are answered with", None, None)


class There:
    """An upstream that remembers what it was given."""

    kind, serves = "test", "tiny-personal"

    def __init__(self):
        self.given = []
        self.fails = self.closed = 0

    def publish(self, adapter):
        if self.fails:
            self.fails -= 1
            raise UpstreamError("http://there: cannot be reached (ConnectError); is it up?")
        self.given.append(adapter and adapter.name)

    def close(self):
        self.closed += 1


class Box:
    """A state with its adapters, and a publisher over it."""

    def __init__(self, folder):
        self.folder, self.there, self.lines = folder, There(), []
        self.published, self.verdicts, self.judged = "", {}, []
        self.make("0001", "0002", "0003")
        self.publisher = self.new()

    def make(self, *names):
        for name in names:
            (self.folder / name).mkdir()

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

    def judge(self, upstream, name):
        self.judged.append(name)
        verdict = self.verdicts.get(name, FINE)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    def publish(self, name):
        self.published = name
        self.publisher.bring_up_to_date()


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def test_each_new_adapter_is_given_once_and_judged(box):
    box.publisher.bring_up_to_date()
    assert box.there.given == []  # nothing was published, and nothing is there
    box.publish("0001")
    box.publish("0001")
    box.publish("0002")
    assert box.there.given == box.judged == ["0001", "0002"]
    assert box.new().served == box.publisher.served == Served("http://there tiny", "tiny-personal", "0002", "0002")
    box.publish("")  # rolled back to the base model
    assert box.there.given[2:] == [None] and box.judged == ["0001", "0002"]
    assert box.lines[-1] == "at the upstream (tiny-personal): it answers as the base model does"
    assert box.there.closed == 3


def test_one_that_spoils_its_answers_is_taken_back_and_not_given_again(box):
    box.publish("0001")
    box.verdicts["0002"] = SPOILT
    box.publish("0002")
    box.publish("0002")
    assert box.there.given == ["0001", "0002", "0001"]
    served = Served("http://there tiny", "tiny-personal", "0001", "0001", "0002", SPOILT.reason)
    assert box.publisher.served == box.new().served == served
    assert "adapter 0002 spoils its answers; adapter 0001 answers" in box.lines[-1]
    assert SPOILT.reason not in box.lines[-1]  # it may quote what was said
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
    (box.folder / "0001").rmdir()  # what it learned from was forgotten; 0002 is still wanted, and was refused
    box.publisher.bring_up_to_date()
    assert box.there.given[-1] is None and "0001" not in box.there.given[3:]
    box.published = ""
    (box.folder / "0002").rmdir()
    box.publisher.bring_up_to_date()
    assert box.publisher.served.adapter == "" and box.there.given[-1] is None


@pytest.mark.parametrize("cut", ["publish", "judge"])
def test_where_it_was_cut_off_it_is_given_again_even_if_nothing_is_wanted_any_more(box, cut):
    box.publish("0001")
    if cut == "publish":
        box.there.fails = 1
    else:
        box.verdicts["0002"] = UpstreamError("http://there: cannot be reached (ReadError); is it up?")
    box.publish("0002")
    assert "cannot be reached" in box.publisher.failure
    box.publisher.bring_up_to_date()
    again = box.new()  # as after a restart
    box.published = "0001"
    again.bring_up_to_date()
    assert box.there.given[-1] == "0001" and again.failure == ""
    assert len([line for line in box.lines if "not published" in line]) == 1  # not each time that it is tried


def test_another_upstream_or_a_file_that_cannot_be_read_begins_anew(box):
    box.publish("0001")
    assert box.new("http://there other").served == Served("http://there other")
    for text in ("", "{", "[]", '{"adapter": "0001", "colour": 1}'):
        (box.folder / "served.json").write_text(text)
        assert box.new().served == Served("http://there tiny")
    assert json.loads((box.folder / "served.json").read_text())  # it is left as it is until something is given


def test_it_looks_by_itself_and_ends(box, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    from tests.serve.running import until

    box.there.fails = 1
    box.published = "0001"
    box.publisher.begin()
    until(lambda: box.publisher.served.adapter == "0001")
    box.published = "0002"
    until(lambda: box.publisher.served.adapter == "0002")
    box.publisher.close()
    box.published = "0003"
    assert box.there.given == ["0001", "0002"] and not box.publisher._thread.is_alive()
