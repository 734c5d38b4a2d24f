import pytest

from edgepers.serve.hints import Hints, hints_of
from edgepers.serve.lessons import Call, lesson_of
from edgepers.serve.talks import Talks
from edgepers.streams.chats import Turn


def call(*turns, tools=False, **hints):
    messages = [{"role": role, "content": text} for role, text in turns]
    return Call(messages=messages, hints=Hints(**hints), calls_tools=tools)


HELLO = ("user", "What is my dog called?")


def test_a_finished_exchange_is_one_set_with_its_earlier_turns_as_context():
    lesson = lesson_of(
        call(("system", "Be brief."), ("user", "I have a dog."), ("assistant", "<think>hm</think>Nice."), HELLO),
        "<think>The user has told me. Moon?</think>Moon.",
        whole=True,
    )
    assert lesson.answer == "Moon."
    assert lesson.question == "User: I have a dog.\nAssistant: Nice.\n\nWhat is my dog called?"
    assert lesson.turns[-1] == Turn("user", "What is my dog called?")


@pytest.mark.parametrize(
    ("asked", "answer", "whole", "why"),
    [
        (call(HELLO, learn=False), "Moon.", True, "asked_not_to"),
        (call(HELLO, main=False), "Moon.", True, "side_turn"),
        (call(HELLO, task="title_generation"), "Moon.", True, "task"),
        (call(HELLO), "Moon.", False, "cut"),
        (call(HELLO, tools=True), "", True, "tool"),
        (call(HELLO, ("tool", "17 degrees")), "It is 17 degrees.", True, "tool"),
        (call(("system", "Say hello.")), "Hello.", True, "tool"),
        (call(HELLO), "", True, "empty"),
        (call(HELLO), "<think>never ends", True, "empty"),
        (call(("user", "<context>a</context>")), "b", True, "empty"),
        (call(HELLO, ("assistant", "He is")), "called Moon.", True, "empty"),
    ],
)
def test_what_is_no_lesson_and_why(asked, answer, whole, why):
    assert lesson_of(asked, answer, whole=whole) == why


def test_what_headers_say():
    assert hints_of({}) == Hints()
    assert hints_of({"x-session-id": "a", "x-turn-type": "side", "x-session-done": "1"}) == Hints(
        session="a", main=False, done=True
    )
    assert hints_of({"x-edgepers-learn": "No"}).learn is False
    assert hints_of({"x-edgepers-task": "{{TASK}}", "x-session-id": "{{CHAT_ID}}"}) == Hints()
    assert hints_of({"x-edgepers-task": ""}).task == "" and hints_of({"x-edgepers-task": "None"}).task == ""
    assert hints_of({"x-edgepers-task": "title_generation"}).task == "title_generation"
    assert hints_of({"x-openwebui-chat-id": "b"}).session == "b"


ONE = (Turn("user", "Name a river."),)
TWO = (*ONE, Turn("assistant", "The Elbe."), Turn("user", "A longer one?"))


def test_in_a_named_talk_an_answer_asked_for_again_takes_the_place_of_the_first():
    talks = Talks()
    talks.note("s", ONE, "The Elbe.", 4)
    assert talks.replaced("other", ONE, "The Rhine.") == ()
    assert talks.replaced("s", ONE, "The Rhine.") == (4,)
    assert talks.replaced("s", ONE, "The Rhine.") == ()


def test_in_a_named_talk_an_edited_turn_leaves_all_below_it_behind():
    talks = Talks()
    talks.note("s", ONE, "The Elbe.", 4)
    talks.note("s", TWO, "The Nile.", 5)
    assert talks.replaced("s", (Turn("user", "Name a lake."),), "Como.") == (4, 5)


def test_the_next_turn_of_a_talk_takes_nothings_place():
    talks = Talks()
    talks.note("s", ONE, "The Elbe.", 4)
    assert talks.replaced("s", TWO, "The Nile.") == ()
    talks.done("s")
    assert talks.replaced("s", ONE, "The Rhine.") == ()


def test_without_a_name_the_very_same_turns_answered_otherwise_were_asked_for_again(monkeypatch):
    talks = Talks()
    talks.note("", ONE, "The Elbe.", 4)
    assert talks.replaced("", ONE, "The Elbe.") == ()
    assert talks.replaced("", TWO, "The Nile.") == ()
    assert talks.replaced("", ONE, "The Rhine.") == (4,)
    talks.note("", ONE, "The Rhine.", 6)
    monkeypatch.setattr("edgepers.serve.talks.AGAIN_SECONDS", -1.0)
    assert talks.replaced("", ONE, "The Elbe.") == ()


def test_talks_are_bounded(monkeypatch):
    monkeypatch.setattr("edgepers.serve.talks.MOST_TALKS", 2)
    talks = Talks()
    for name in "abc":
        talks.note(name, ONE, "x", 1)
    assert talks.replaced("a", ONE, "y") == () and talks.replaced("c", ONE, "y") == (1,)
