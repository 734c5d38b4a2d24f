import pytest

from edgepers.annotate.reasons import reasons
from edgepers.chat.session import Session
from edgepers.config import Settings
from edgepers.personalize import Personalizer

QUICK = {"annotations_per_round": 3, "storage": 64_000}


@pytest.fixture
def owner(llm, tmp_path):
    with Personalizer(tmp_path / "state", Settings.make(QUICK), llm=llm, source=lambda _: None) as made:
        yield made


def by_question(owner, ask="coverage"):
    asked = owner.requests()
    return {kept.question: why for kept, why in zip(asked, reasons(owner.verdicts, asked, ask), strict=True)}


def test_a_question_stands_for_those_like_it(owner):
    session = Session(owner)
    dogs = ("dog Moon eats fish", "dog Moon eats bread", "dog Moon eats grass")
    for text in (*dogs, "when leaves the train", "who is Anna", "where do I live", "buy new shoes", "call my mother"):
        session.hear(text, "Yes.")
    found = by_question(owner)
    assert [why for text, why in found.items() if text in dogs] == [
        "you asked about this 3 times, and have judged no answer to it"
    ]
    assert [why for text, why in found.items() if text not in dogs] == ["nothing else that you asked is like it"] * 2
    assert set(by_question(owner, "newest").values()) == {"the newest that you have not judged"}


def test_what_was_said_of_a_set_before_is_the_reason(owner):
    session = Session(owner)
    session.hear("one", "Yes.")
    session.judge(None, bad=True)
    session.hear("two", "Yes.")
    session.asked()
    owner.round()
    assert by_question(owner) == {
        "two": "asked before, and not answered",
        "one": "you called it wrong, and have not said what is right",
    }


def test_where_nothing_is_asked_there_is_no_reason(owner):
    assert reasons(owner.verdicts, []) == []
