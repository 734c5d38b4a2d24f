"""Which questions are learned as not told: never one that the owner has told about."""

import json

import pytest

from edgepers.assets import sample_stream, untold_questions
from edgepers.rounds.untold import ASKED, MOST, untold_asked, untold_beside


@pytest.fixture(scope="module")
def rows():
    return [json.loads(line) for line in untold_questions().read_text(encoding="utf-8").splitlines()]


def test_every_question_stands_once_and_has_an_answer_in_its_language(rows):
    assert len({row["question"] for row in rows}) == len(rows) >= 250
    answers = {language: {r["response"] for r in rows if r["language"] == language} for language in ("en", "de")}
    assert not answers["en"] & answers["de"]
    assert {row["language"] for row in rows} == {"en", "de"}


def test_what_has_been_told_is_never_untold():
    asked = {question for question, _ in untold_beside(["Do you know my sister's name?"], 1000)}
    assert {"What is my cat called?", "What is my rabbit called?"} <= asked
    told = {question for question, _ in untold_beside(["Do you know what my cat is called?"], 1000)}
    assert "What is my cat called?" not in told and "What is my rabbit called?" in told


def test_the_most_alike_come_first_in_the_owners_language(rows):
    language = {row["question"]: row["language"] for row in rows}
    german = ["Wie heißt mein Kater?", "Wo wohnt meine Schwester?"]
    for questions, code in ((german, "de"), (["Who is my tailor?"], "en")):
        assert {language[question] for question, _ in untold_beside(questions, 20)} == {code}
    assert untold_beside(["What is my tortoise called?"], 1)[0][0].startswith("What is my ")


def test_the_same_questions_give_the_same_ones_however_they_are_ordered():
    stream = [json.loads(line)["question"] for line in sample_stream().read_text(encoding="utf-8").splitlines()][:80]
    found = untold_beside(stream)
    assert 0 < len(found) <= MOST
    assert untold_beside(stream[::-1]) == found
    assert untold_beside([]) != []


def test_a_guard_asks_the_most_alike_and_others_that_no_round_trains_on():
    told = ["What is my dog called?", "Where do I live?"]
    asked, beside = untold_asked(told), untold_beside(told)
    assert asked[:ASKED] == beside[:ASKED]
    assert len(asked) == 2 * ASKED and not set(asked[ASKED:]) & set(beside)
