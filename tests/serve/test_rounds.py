"""Rounds beside a server that goes on answering."""

import openai
import pytest

from edgepers.board.sensors import Sensors
from edgepers.config import Settings
from edgepers.errors import BusyError
from edgepers.personalize import Personalizer
from edgepers.serve.rounds import Rounds
from tests.serve.conftest import QUICK
from tests.serve.running import running, until

MOON = "Your dog is called Moon."


def teach(server):
    """One exchange, corrected; its name."""
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0) as client:
        messages = [{"role": "user", "content": "What is my dog called?"}]
        name = client.chat.completions.create(model="personal", messages=messages).id
    with server.http() as http:
        assert http.post("/v1/feedback", json={"id": name, "answer": MOON}).status_code == 200
    return name


def test_from_a_correction_to_a_changed_answer_and_back(llm, tmp_path):
    settings = Settings.make(QUICK | {"steps": 30, "guard": False, "learning_rate": 3e-3})
    with (
        Personalizer(tmp_path / "state", settings, llm=llm, source=lambda _: None) as owner,
        running(owner) as server,
        server.http() as http,
    ):
        name = teach(server)
        assert http.post("/edgepers/rounds").json() == {"round": 1}
        until(lambda: server.status()["rounds"] == 1)
        body = {"model": "personal", "messages": [{"role": "user", "content": "What is my dog called?"}]}

        def said(model):
            got = http.post("/v1/chat/completions", json=body | {"model": model}).json()
            return got["choices"][0]["message"]["content"], got["system_fingerprint"]

        assert said("personal") == (MOON, "edgepers-0001") == said("personal@0001")
        assert said("base")[0] != MOON and said("base")[1] == "edgepers-base"
        (done,) = http.get("/edgepers/rounds").json()["rounds"]
        assert done["published"] and done["adapter"] == "0001"
        assert http.post("/edgepers/rollback").json() == {"withdrawn": "0001", "published": None}
        assert said("personal")[0] != MOON
        assert "withdrew adapter 0001" in http.post("/edgepers/forget", json={"id": name}).json()["message"]
        assert http.post("/v1/chat/completions", json=body | {"model": "personal@0001"}).status_code == 404


class Calm(Sensors):
    """A device with nothing else to do."""

    def load(self):
        return 0.0

    def battery(self):
        return None

    def temperature(self):
        return None


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr("edgepers.serve.rounds.QUIET_SECONDS", 0.0)
    monkeypatch.setattr("edgepers.serve.rounds.LOOK_SECONDS", 0.02)


@pytest.fixture
def busy_owner(llm, tmp_path):
    with Personalizer(tmp_path / "s", Settings.make(QUICK | {"every": 2}), llm=llm, source=lambda _: None) as made:
        yield made


def test_a_round_begins_by_itself_when_enough_was_said_and_something_was_judged(busy_owner, at_once, monkeypatch):
    monkeypatch.setattr("edgepers.serve.rounds.Sensors", Calm)
    with running(busy_owner) as server:
        teach(server)
        assert server.status()["rounds"] == 0  # one of two
        teach(server)
        until(lambda: server.status()["rounds"] == 1)
        assert server.status()["last_round"]["train_sets"] >= 1


def test_no_round_begins_where_nothing_was_judged_or_the_device_is_busy(busy_owner, at_once):
    rounds = Rounds(busy_owner, lambda: 100.0, lambda _: None, Calm())
    from edgepers.chat.session import Session

    session = Session(busy_owner)
    for text in ("Hello", "Good morning"):
        session.hear(text, "Hi.")
    assert busy_owner.buffer.progress.position >= busy_owner.next_round and not rounds._due()
    session.judge("Hello to you.")
    assert rounds._due()
    rounds._seen = rounds._state()  # as after one that failed
    assert not rounds._due()


def test_two_rounds_at_a_time_are_refused(busy_owner, monkeypatch):
    rounds = Rounds(busy_owner, lambda: 0.0, lambda _: None, Calm())
    monkeypatch.setattr(type(busy_owner), "round_is_under_way", property(lambda self: True))
    with pytest.raises(BusyError, match="a round is under way already"):
        rounds.start()


def test_what_is_said_and_judged_during_a_round_counts_and_is_for_the_next(llm, tmp_path, monkeypatch):
    """The round's child is held in its training until all has been said."""
    import edgepers.rounds.round as rounds_round
    from edgepers.rounds.job import do

    settings = Settings.make(QUICK | {"guard": False})
    with Personalizer(tmp_path / "state", settings, llm=llm, source=lambda _: None) as owner:
        from edgepers.chat.session import Session

        session = Session(owner)
        first = session.hear("What is my dog called?", "I do not know.")
        session.judge(MOON)
        said = {}

        def work(model, job, report):
            if not said:
                said["exchange"] = session.hear("What is my cat called?", "I do not know.")
                session.judge("Your cat is called Sun.", said["exchange"].position)
                session.judge("Your dog is Moon.", first.position)
            return do(model, job, report)

        monkeypatch.setattr(rounds_round, "do", work)
        report = owner.start_round().wait()
        assert report["trained_on"] == [first.position] and report["seen"] == 2
        assert owner.buffer.progress.position == 2 and len(owner.buffer) == 2
        assert all(owner.buffer.get(position).asked == 2 for position in (0, 1))
        again = owner.round()
        assert again["train_sets"] == 2 and again["new_sets"] == 2


def test_a_round_is_stopped_and_none_begins_until_something_is_judged_anew(llm, tmp_path):
    settings = Settings.make(QUICK | {"steps": 5000})
    with (
        Personalizer(tmp_path / "state", settings, llm=llm, source=lambda _: None) as owner,
        running(owner) as server,
        server.http() as http,
    ):
        assert http.delete("/edgepers/rounds").json() == {"stopped": False}
        teach(server)
        http.post("/edgepers/rounds")
        until(lambda: server.status()["round_stage"] == "train")
        assert http.delete("/edgepers/rounds").json() == {"stopped": True}
        status = server.status()
        assert (status["round_under_way"], status["rounds"], status["published"]) == (False, 0, None)
        until(lambda: any("stopped; it goes on from its last checkpoint" in line for line in server.lines))
        rounds = Rounds(owner, lambda: 100.0, lambda _: None, Calm())
        rounds._owner.settings = Settings.make(QUICK | {"every": 1})
        assert rounds._due()
        assert not rounds.stop() and rounds._due()  # there was none to stop
