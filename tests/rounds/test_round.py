"""A round while it is done: who may ask meanwhile, and how a server follows and stops it."""

import contextlib
import threading

import pytest

from edgepers import DialogueSet, Personalizer
from edgepers.config import Settings
from edgepers.errors import BusyError, RoundStoppedError
from edgepers.rounds import process
from edgepers.rounds import round as round_module
from edgepers.rounds.listener import Listener
from edgepers.rounds.under_way import UnderWay
from edgepers.state.buffer import Buffer
from edgepers.train.trainer import TrainStep
from tests.rounds.children import acting

STREAM = [DialogueSet(f"What is {word}?", f"It is {word}.", f"My {word} is blue.") for word in ("tea", "a cup", "milk")]
SETTINGS = Settings(annotations="gold", generations=0, storage=64_000, guard=False)


class Gate(Listener):
    """Holds the round at its first step until the test lets it go on."""

    def __init__(self):
        self.reached, self.go_on = threading.Event(), threading.Event()

    def trained(self, step):
        self.reached.set()
        assert self.go_on.wait(120)


@contextlib.contextmanager
def owner_of(tmp_path, monkeypatch, listener, body, beside=True):
    monkeypatch.setattr(process, "COMMAND", acting(body))
    monkeypatch.setattr(round_module, "trains_beside", lambda *_: beside)
    with Personalizer(tmp_path / "state", SETTINGS, listener=listener, source=lambda _: None) as owner:
        owner.select(STREAM)
        for kept in list(owner.buffer):
            owner.selector.annotate(kept.position, "My own words.", 1)
        yield owner


def test_where_memory_allows_both_the_published_model_answers_while_another_process_trains(tmp_path, monkeypatch):
    gate = Gate()
    with owner_of(tmp_path, monkeypatch, gate, "step(1, 2); step(2, 2); say('done', outcome=DONE)") as owner:
        before = owner.answer(["Hi"], max_new_tokens=4)
        under_way = owner.start_round()
        assert gate.reached.wait(120)
        assert owner.answer(["Hi"], max_new_tokens=4) == before
        assert owner.reply("Hi", lambda _: None, max_new_tokens=4) == before[0]
        with Buffer(tmp_path / "state") as reader:  # whoever reads is not kept waiting
            assert len(reader) == len(STREAM)
        assert under_way.wait(0.01) is None and under_way.running()
        gate.go_on.set()
        done = under_way.wait()
        assert (done["round"], done["reason"], done["published"]) == (1, "acted", False)
        assert done["peak_memory_bytes"] >= 2000
        kinds = [record["kind"] for record in under_way.records()]
        assert kinds == ["stage", "stage", "stage", "step", "step"]
        assert list(under_way.records()) == []
        assert (tmp_path / "state" / "rounds" / "0001.csv").read_text().count("\n") == 3


def test_where_it_does_not_the_model_makes_room_asking_is_one_line_and_afterwards_it_answers(tmp_path, monkeypatch):
    gate = Gate()
    body = "step(1, 2); step(2, 2); say('done', outcome=DONE)"
    with owner_of(tmp_path, monkeypatch, gate, body, beside=False) as owner:
        before = owner.answer(["Hi"], max_new_tokens=4)
        under_way = owner.start_round()
        assert gate.reached.wait(120)
        assert owner.llm._loaded is None
        for ask in (lambda: owner.answer(["Hi"]), lambda: owner.reply("Hi", lambda _: None)):
            with pytest.raises(BusyError, match=r"^training, it has just begun; ask again then$"):
                ask()
        gate.go_on.set()
        assert under_way.wait()["reason"] == "acted"
        assert owner.llm._loaded is None  # only what needs it loads it
        assert owner.answer(["Hi"], max_new_tokens=4) == before


def test_a_round_that_is_stopped_counts_for_nothing_and_the_next_one_is_it(tmp_path, monkeypatch):
    gate = Gate()
    with owner_of(tmp_path, monkeypatch, gate, "step(1, 2); time.sleep(600)") as owner:
        under_way = owner.start_round()
        assert gate.reached.wait(120)
        under_way.stop()
        gate.go_on.set()
        with pytest.raises(RoundStoppedError):
            under_way.wait()
        assert owner.round_number == 1
        monkeypatch.setattr(process, "COMMAND", acting("say('done', outcome=DONE)"))
        assert owner.round()["round"] == 1


def test_the_time_that_is_left_is_told_by_the_pace_of_the_steps(monkeypatch):
    now = 100.0
    monkeypatch.setattr("edgepers.rounds.under_way.time.monotonic", lambda: now)
    under_way = UnderWay()
    with under_way.model_away():
        for number in (1, 2, 3):
            under_way.step(TrainStep(number, 10, 2.0, 9.0, 0.1))
            now += 5.0
        now -= 3.0  # two seconds into the fourth
        assert under_way.seconds_left() == 7 * 5.0 - 2.0
        with pytest.raises(BusyError, match=r"^training, about 33 s left; ask again then$"):
            under_way.require_model()
    under_way.require_model()
