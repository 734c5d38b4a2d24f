"""What a server's talks come to in the state."""

import pytest

from tests.serve.running import running

DOG = "What is my dog called?"


def ask(client, *turns, model="personal", **headers):
    roles = ("user", "assistant") * len(turns)
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    return client.chat.completions.create(model=model, messages=messages, extra_headers=headers)


def kept(owner):
    return [(one.id, one.question, one.verdict) for one in owner.buffer]


def test_an_exchange_is_kept_before_its_client_has_the_end_of_it(client, owner):
    got = ask(client, DOG)
    assert kept(owner) == [(got.id, DOG, "")]
    assert next(iter(owner.buffer)).response == got.choices[0].message.content


def test_what_is_said_to_the_base_model_is_not_learned(client, owner):
    ask(client, DOG, model="base")
    assert kept(owner) == []


def test_headers_keep_a_call_out(client, owner, server):
    ask(client, DOG, **{"X-Edgepers-Learn": "no"})
    ask(client, DOG, **{"X-Turn-Type": "side"})
    ask(client, DOG, **{"X-Edgepers-Task": "title_generation"})
    client.chat.completions.create(model="personal", messages=[{"role": "user", "content": DOG}], max_tokens=1)
    assert kept(owner) == []
    assert server.status()["outcomes"] == {"asked_not_to": 1, "side_turn": 1, "task": 1, "cut": 1}


def test_a_talk_can_be_switched_off_and_on(client, server, owner):
    with server.http() as http:
        assert http.put("/edgepers/talks/t1", json={"learn": False}).json() == {"session": "t1", "learn": False}
        ask(client, DOG, **{"X-Session-Id": "t1"})
        assert kept(owner) == []
        http.put("/edgepers/talks/t1", json={"learn": True})
    ask(client, DOG, **{"X-Session-Id": "t1"})
    assert len(kept(owner)) == 1


def test_an_answer_that_was_asked_for_again_is_kept_as_rejected(client, owner, server):
    session = {"X-Session-Id": "t1"}
    first = ask(client, "Hello", **session)
    ask(client, "Good morning, my friend", **session)  # the first turn was edited
    assert next((name, verdict) for name, _, verdict in kept(owner)) == (first.id, "bad")
    assert server.status()["verdicts"] == {"rejected": 1}


@pytest.mark.parametrize("session", [{}, {"X-Session-Id": "t1"}])
def test_an_answer_that_is_taken_back_in_the_next_turn_is_doubted(client, owner, session):
    answer = ask(client, DOG, **session).choices[0].message.content
    ask(client, DOG, answer, "No, I meant my other dog.", **session)
    assert [one.doubted for one in owner.buffer] == [not answer.rstrip().endswith("?"), False]


def test_what_is_asked_again_in_the_same_words_is_counted(client, owner, server):
    ask(client, DOG)
    ask(client, DOG)
    assert [one.repeats for one in owner.buffer] == [1] and server.status()["outcomes"] == {"kept": 1, "repeat": 1}


def test_of_a_counted_answer_that_was_asked_for_again_the_kept_one_is_doubted(client, owner, server):
    first = {"X-Session-Id": "t1"}
    ask(client, DOG)
    ask(client, DOG, **first)  # counted
    ask(client, "Good morning, my friend", **first)  # its turn was edited
    assert [(one.repeats, one.doubted, one.verdict) for one in owner.buffer] == [(1, True, ""), (0, False, "")]
    ask(client, DOG)
    assert len(owner.buffer) == 3  # a new answer beside the doubted one


def test_an_answer_that_was_counted_is_taken_back_on_the_kept_one(client, owner):
    ask(client, DOG)
    answer = ask(client, DOG).choices[0].message.content
    ask(client, DOG, answer, "No, I meant my other dog.")
    assert next(iter(owner.buffer)).doubted == (not answer.rstrip().endswith("?"))


def test_verdicts_come_by_the_answers_name(client, server, owner):
    one, two, three = (ask(client, text).id for text in (DOG, "Hello", "Good evening"))
    with server.http() as http:

        def judge(**verdict):
            return http.post("/v1/feedback", json=verdict)

        assert judge(id=one, answer="Your dog is called Moon.").json() == {
            "id": one,
            "set": 0,
            "verdict": "corrected",
            "message": "noted: it will learn that",
        }
        assert judge(id=two, rating="up").json()["verdict"] == "good"
        assert judge(id=three, rating="down").json()["verdict"] == "bad"
        assert judge(id="chatcmpl-none", rating="up").status_code == 404
        assert judge(id=one).status_code == 400
        assert judge(id=one, answer=" ").status_code == 400
        assert judge(id=one, rating="up", answer="x").status_code == 400
    assert [verdict for *_, verdict in kept(owner)] == ["corrected", "good", "bad"]


def test_an_answer_can_be_judged_after_a_restart(client, server, owner):
    name = ask(client, DOG).id
    with running(owner) as again, again.http() as http:
        assert http.post("/v1/feedback", json={"id": name, "answer": "Moon."}).json()["verdict"] == "corrected"
        assert http.get("/edgepers/requests").json() == {"requests": []}
    assert [verdict for *_, verdict in kept(owner)] == ["corrected"]


def test_what_awaits_a_verdict_is_told_and_what_is_forgotten_is_gone(client, server, owner):
    name = ask(client, DOG).id
    with server.http() as http:
        (waiting,) = http.get("/edgepers/requests").json()["requests"]
        assert (waiting["id"], waiting["question"]) == (name, DOG)
        assert http.post("/edgepers/forget", json={}).status_code == 400
        assert "forgot 1" in http.post("/edgepers/forget", json={"id": name}).json()["message"]
        assert http.post("/edgepers/forget", json={"matching": "dog"}).status_code == 404
    assert kept(owner) == []


def test_without_learning_nothing_is_kept(owner):
    with running(owner, learn=False) as server, server.http() as http:
        body = {"model": "personal", "messages": [{"role": "user", "content": DOG}]}
        assert http.post("/v1/chat/completions", json=body).status_code == 200
    assert kept(owner) == []


def test_what_does_not_fit_is_no_error_of_the_answers(client, owner, server, monkeypatch):
    from edgepers.errors import BudgetError

    def full(*_):
        raise BudgetError("no room")

    monkeypatch.setattr(type(owner.selector), "offer_spoken", full)
    assert ask(client, DOG).choices
    assert server.status()["outcomes"] == {"failed": 1} and "not learned: no room" in server.lines


@pytest.mark.parametrize("path", ["/edgepers/rollback"])
def test_nothing_to_go_back_from_is_a_failure_in_one_line(server, path):
    with server.http() as http:
        got = http.post(path)
    assert got.status_code in (404, 409) and "nothing to go back from" in got.json()["error"]["message"]
