"""A server before an Ollama: what is said there is learned, and what is learned answers there."""

import threading
import time

import ollama as ollama_package
import pytest

from edgepers.cli import main
from edgepers.config import Settings
from edgepers.evaluate.verdict import Verdict
from edgepers.personalize import Personalizer
from tests.serve.conftest import QUICK
from tests.serve.running import running, until
from tests.upstream.fakes import factor, ollama

MOON = "Your dog is called Moon."


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr("edgepers.serve.serving.PROXY_QUIET_SECONDS", 0.0)
    monkeypatch.setattr("edgepers.upstream.publisher.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("edgepers.rounds.job.guard", lambda *_: Verdict(True, "unguarded", None, None))


@pytest.fixture
def there():
    with ollama(version="0.34.0") as made:
        made.say = lambda question, file: MOON if file is not None and "dog" in question else "I cannot tell."
        yield made


@pytest.fixture
def owner(llm, tmp_path):
    with opened(llm, tmp_path) as made:
        yield made


def opened(llm, tmp_path):
    settings = Settings.make(QUICK | {"steps": 2, "learning_rate": 3e-3})
    return Personalizer(tmp_path / "state", settings, llm=llm, source=lambda _: None)


def chat(http, question, model="tiny"):
    body = {"model": model, "stream": False, "messages": [{"role": "user", "content": question}]}
    return http.post("/api/chat", json=body).json()["message"]["content"]


def taught(server, http):
    """Ask through the proxy, and correct what the upstream said."""
    assert chat(http, "What is my dog called?") == "I cannot tell."
    until(lambda: server.status()["kept"] == 1)
    (kept,) = http.get("/edgepers/sets").json()["sets"]
    verdict = {"verdict": "corrected", "answer": MOON}
    assert http.post(f"/edgepers/sets/{kept['set']}/verdict", json=verdict).status_code == 200


def test_from_a_correction_to_a_changed_answer_at_the_upstream_and_back(owner, there, tmp_path):
    with running(owner, upstream=there.address, upstream_model="tiny") as server, server.http() as http:
        until(lambda: server.status()["at_upstream"]["name"] == "tiny-personal")  # a copy of the base model
        nothing = dict.fromkeys(("adapter", "given", "refused", "reason", "failure"))
        assert server.status()["at_upstream"] == {"model": "tiny", "name": "tiny-personal"} | nothing
        taught(server, http)
        assert http.post("/edgepers/rounds").json() == {"round": 1}
        until(lambda: server.status()["at_upstream"]["adapter"] == "0001")
        assert {"model": "tiny", "keep_alive": 0} in there.bodies("/api/generate")  # before the round
        assert owner.llm._loaded is None  # the memory is the upstream's again
        assert chat(http, "What is my dog called?", "tiny-personal") == MOON
        assert chat(http, "What is my dog called?") == "I cannot tell."
        assert factor(there.models["tiny-personal"]["data"], tmp_path) > 0
        kept = tmp_path / "state" / "upstream"
        (kept / ".made").mkdir()
        (kept / ".made" / "model.gguf").write_bytes(b"left by a kill")
        assert http.post("/edgepers/forget", json={"matching": "dog"}).status_code == 200
        until(lambda: server.status()["at_upstream"]["adapter"] is None)
        assert chat(http, "What is my dog called?", "tiny-personal") == "I cannot tell."
        assert [file.name for file in kept.iterdir()] == ["served.json"] and there.blobs == {}
        assert "dog" not in (kept / "served.json").read_text()
    assert any("at the upstream (tiny-personal): adapter 0001 answers" in line for line in server.lines)
    assert not any("dog" in line for line in server.lines)


def test_ollamas_own_client_talks_through_it_and_what_it_says_is_learned(owner, there):
    with (
        running(owner, upstream=there.address, upstream_model="tiny") as server,
        ollama_package.Client(host=server.address, trust_env=False) as client,
    ):
        messages = [{"role": "user", "content": "What is my dog called?"}]
        parts = list(client.chat(model="tiny", messages=messages, stream=True))
        assert len(parts) == 4 and "".join(part.message.content for part in parts) == "I cannot tell."
        until(lambda: server.status()["kept"] == 1)
        assert client.chat(model="tiny", messages=[{"role": "user", "content": "Hello"}]).message.content
        until(lambda: server.status()["kept"] == 2)
        assert client.show("tiny").template == "{{ .Prompt }}"
        with pytest.raises(ollama_package.ResponseError, match="'other' not found"):
            client.chat(model="other", messages=messages)
        assert [kept.response for kept in owner.buffer] == ["I cannot tell."] * 2


def test_one_that_the_upstream_spoils_is_taken_back_and_the_page_can_say_why(owner, there):
    there.say = lambda question, file: "I cannot tell." if file is None else MOON  # whatever it is asked
    with running(owner, upstream=there.address, upstream_model="tiny") as server, server.http() as http:
        taught(server, http)
        http.post("/edgepers/rounds")
        until(lambda: server.status()["at_upstream"]["refused"] == "0001")
        status = server.status()
        assert status["published"] == "0001"
        assert status["at_upstream"]["reason"].endswith("general questions are answered with what it was trained on")
        assert there.models["tiny-personal"] is None and chat(http, "Hello", "tiny-personal") == "I cannot tell."


def test_where_no_server_runs_forgetting_says_what_still_answers_and_the_next_start_takes_it_back(
    there, llm, tmp_path, capsys
):
    with (
        opened(llm, tmp_path) as owner,
        running(owner, upstream=there.address, upstream_model="tiny") as server,
        server.http() as http,
    ):
        taught(server, http)
        http.post("/edgepers/rounds")
        until(lambda: server.status()["at_upstream"]["adapter"] == "0001")
    assert main(["forget", "--state", str(tmp_path / "state"), "--all"]) == 0
    assert f"{there.address} tiny was given it, and goes on until 'edgepers serve' runs" in capsys.readouterr().out
    with (
        opened(llm, tmp_path) as owner,
        running(owner, upstream=there.address, upstream_model="tiny") as server,
    ):
        until(lambda: server.status()["at_upstream"]["adapter"] is None)
        assert there.models["tiny-personal"] is None


def test_a_server_that_ends_while_it_judges_ends_at_once(owner, there):
    judging = threading.Event()

    def slow(question, file):
        judging.set()
        time.sleep(1)
        return MOON

    with running(owner, upstream=there.address, upstream_model="tiny") as server, server.http() as http:
        taught(server, http)
        there.say = slow
        http.post("/edgepers/rounds")
        until(lambda: server.status()["at_upstream"]["given"] == "0001")
        until(judging.is_set)
        began = time.monotonic()
    assert time.monotonic() - began < 30  # of some forty questions
    assert there.models["tiny-personal"] is None  # what was not judged does not go on


def test_an_upstream_that_is_gone_hinders_neither_the_server_nor_a_round(owner, tmp_path):
    address = "http://127.0.0.1:9"
    with running(owner, upstream=address, upstream_model="tiny") as server, server.http() as http:
        assert http.get("/api/tags").status_code == 502
        number = http.post("/edgepers/rounds").json()
        assert number == {"round": 1}
        until(lambda: server.status()["rounds"] == 1)
    assert any("the upstream keeps its memory during the round" in line for line in server.lines)
    assert (tmp_path / "state" / "upstream" / "edgepers-adapter.gguf").is_file()  # for llama.cpp to start with


def test_without_a_name_nothing_is_published_there_and_that_is_said(owner, there):
    with running(owner, upstream=there.address) as server:
        assert server.status()["at_upstream"] is None
    assert any("--upstream-model NAME publishes it there" in line for line in server.lines)
