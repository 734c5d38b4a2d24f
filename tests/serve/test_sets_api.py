import json

import pytest

from edgepers.chat.session import Session
from tests.serve.running import running, until

DOG, MOON = "What is my dog called?", "Your dog is called Moon."
LATER = "User: I have a dog.\nAssistant: What is she called?\n\nMoon. Can she swim?"


@pytest.fixture
def http(owner):
    session = Session(owner)
    for question, answer in ((DOG, "A dog."), (LATER, "Yes."), ("Where do I live?", "In a house.")):
        session.hear(question, answer)
    with running(owner) as server, server.http() as made:
        yield made


def asked(http):
    return [one["set"] for one in http.get("/edgepers/requests").json()["requests"]]


def judge(http, position, **verdict):
    return http.post(f"/edgepers/sets/{position}/verdict", json=verdict)


def test_what_is_kept_is_told_newest_first_in_parts_and_by_its_words(http):
    found = http.get("/edgepers/sets", params={"most": 2}).json()
    assert ([one["set"] for one in found["sets"]], found["count"], found["more"]) == ([2, 1], 3, True)
    assert (found["sets"][1]["earlier"], found["sets"][1]["question"]) == tuple(LATER.split("\n\n"))
    found = http.get("/edgepers/sets", params={"most": 2, "before": 1}).json()
    assert ([one["set"] for one in found["sets"]], found["more"]) == ([0], False)
    assert [one["set"] for one in http.get("/edgepers/sets?matching=HOUSE").json()["sets"]] == [2]
    assert http.get("/edgepers/sets?matching=elephant").json() == {"count": 0, "sets": [], "more": False}
    for wrong in ("before=-1", "before=x", "most=0", "most=1000", "matching=" + "x" * 1001):
        assert http.get(f"/edgepers/sets?{wrong}").status_code == 400


def test_everything_kept_can_be_taken_away_as_a_stream(http):
    got = http.get("/edgepers/sets.jsonl")
    assert "attachment" in got.headers["content-disposition"]
    assert [json.loads(line)["question"] for line in got.text.splitlines()] == [DOG, LATER, "Where do I live?"]


def test_a_set_is_judged_passed_over_and_taken_back_by_its_position(http, owner):
    order = asked(http)
    assert sorted(order) == [0, 1, 2]
    assert judge(http, 0, verdict="corrected", answer=MOON).json()["verdict"] == "corrected"
    assert judge(http, 1, verdict="skipped").json() == {"set": 1, "verdict": None, "message": "passed over"}
    assert judge(http, 2, verdict="bad").json()["verdict"] == "bad"
    assert asked(http) == []
    for position in (0, 1, 2):
        got = http.delete(f"/edgepers/sets/{position}/verdict").json()
        assert got == {"set": position, "verdict": None, "message": "taken back"}
        assert http.delete(f"/edgepers/sets/{position}/verdict").status_code == 404
    assert asked(http) == order
    assert [(kept.verdict, kept.reference, kept.asked) for kept in owner.buffer] == [("", None, 0)] * 3


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        ({"verdict": "corrected"}, 400),
        ({"verdict": "corrected", "answer": " "}, 400),
        ({"verdict": "good", "answer": "x"}, 400),
        ({"verdict": "best"}, 400),
        ({}, 400),
    ],
)
def test_a_verdict_that_cannot_be_right_is_refused(http, verdict, status):
    assert judge(http, 0, **verdict).status_code == status


def test_of_a_set_that_is_not_there_nothing_is_done(http):
    assert judge(http, 99, verdict="good").status_code == 404
    assert judge(http, 99, verdict="skipped").status_code == 404
    assert http.post("/edgepers/forget", json={"set": 99}).status_code == 404
    assert http.post("/edgepers/forget", json={"set": 0, "matching": "x"}).status_code == 400
    assert http.delete("/edgepers/sets/99/verdict").status_code == 404
    assert http.get("/edgepers/answers/chatcmpl-none").status_code == 404


def test_a_set_is_forgotten_by_its_position(http, owner):
    assert http.post("/edgepers/forget", json={"set": 1}).json() == {"message": "forgot 1 of what was kept"}
    assert [kept.position for kept in owner.buffer] == [0, 2]
    assert judge(http, 1, verdict="good").status_code == 404


def test_an_answer_tells_what_it_has_become(http):
    def found(question):
        body = {"model": "personal", "messages": [{"role": "user", "content": question}]}
        name = http.post("/v1/chat/completions", json=body).json()["id"]
        told = http.get(f"/edgepers/answers/{name}").json()
        assert told["id"] == name
        return tuple(told[part] for part in ("set", "kept", "counted_on", "verdict", "why"))

    *rest, why = found("Good evening to you")
    assert rest == [3, True, None, None] and why.startswith("kept: there was room")
    *rest, why = found("good evening to you!")
    assert rest == [4, False, 3, None] and why.startswith("counted on set 3, which asks the same, now 2 times")


def test_budgets_and_learning_curves_are_told(http):
    now = http.get("/edgepers/budgets").json()
    assert 0 < now["storage_bytes"] <= now["storage_peak_bytes"] <= now["storage_budget_bytes"] == 64_000
    assert now["memory_budget_bytes"] == 4_000_000_000 and now["memory_bytes"] >= 0
    judge(http, 0, verdict="corrected", answer=MOON)
    http.post("/edgepers/rounds")
    until(lambda: http.get("/edgepers/status").json()["rounds"] == 1)
    losses = http.get("/edgepers/rounds/1/losses").json()["losses"]
    assert [step for step, _ in losses] == [1, 2] and all(loss > 0 for _, loss in losses)
    assert http.get("/edgepers/rounds/2/losses").json() == {"round": 2, "losses": []}
    assert http.get("/edgepers/rounds/0/losses").status_code == 400


def test_a_verdict_that_a_round_has_read_is_not_taken_back(http):
    judge(http, 0, verdict="corrected", answer=MOON)
    http.post("/edgepers/rounds")
    until(lambda: http.get("/edgepers/status").json()["rounds"] == 1)
    got = http.delete("/edgepers/sets/0/verdict")
    assert got.status_code == 404 and "a round has read the verdict since" in got.json()["error"]["message"]
