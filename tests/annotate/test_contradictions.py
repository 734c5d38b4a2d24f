"""Verdicts that take each other back."""

from dataclasses import replace

import numpy as np
import pytest

from edgepers.annotate.contradictions import contradicted, part_contradicted
from edgepers.state.records import KeptSet
from edgepers.streams import Cursor

OTHERS = [  # what else an owner says, so that the words of a question are neither all rare nor all frequent
    (f"What is the name of my {thing}?", f"Your {thing} is called {name}.")
    for thing, name in (("cat", "Tom"), ("boat", "Sea Rose"), ("street", "Elm Row"), ("school", "Hill Top"))
]


def judged(position, question, answer, *, asked=1, bad=False) -> KeptSet:
    made = KeptSet(position, "", question, answer, None, "a", 0, 0, np.zeros(1, np.int8), Cursor(), asked, "good")
    return replace(made, verdict="bad") if bad else made


def gone(*sets: KeptSet) -> list[int]:
    valid, taken_back = part_contradicted(sets)
    assert sorted(kept.position for kept in (*valid, *taken_back)) == sorted(kept.position for kept in sets)
    return [kept.position for kept in taken_back]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (("What is my dog called?", "Moon."), ("what is MY dog called", "Rex.")),  # in another case
        (("Is my dog called?", "Moon."), ("My dog is called?", "It is Rex, that one.")),  # in another order
        (
            ("What is my dog called?", "Your dog is called Moon."),
            ("Tell me again, what is my dog called?", "Your dog is called Rex."),
        ),
        (
            ("Where was my sister born?", "Your sister was born in Porto."),
            ("Say, where was my sister born again?", "Your sister was born in Faro."),
        ),
    ],
)
def test_the_same_question_with_another_answer_is_contradicted_by_the_later_one(earlier, later):
    assert contradicted([earlier, *OTHERS, later]) == [0]
    assert contradicted([later, *OTHERS, earlier]) == [0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("What is my dog's name?", "Your dog's name is Moon."), ("What does my dog eat?", "Your dog eats rice.")),
        (("What is my dog called?", "Your dog is called Moon."), ("What is my dog called?", "your dog is called moon")),
        (("What is my dog called?", "Your dog is called Moon."), ("What is my cow called?", "Your cow is called Rex.")),
        (("???", "Yes."), ("!!!", "No.")),  # without a word
    ],
)
def test_other_questions_and_the_same_answer_are_no_contradiction(one, other):
    assert contradicted([one, *OTHERS, other]) == []


def test_of_three_answers_the_last_one_holds():
    asked = "What is my dog called?"
    assert contradicted([(asked, "Moon."), (asked, "Rex."), (asked, "Moon.")]) == [0, 1]
    assert contradicted([(asked, "Moon."), (asked, "Rex."), (asked, "Sun.")]) == [0, 1]


def test_the_newer_round_wins_and_within_one_the_later_set():
    first, second = judged(9, "What is my dog called?", "Moon."), judged(2, "What is my dog called?", "Rex.")
    assert gone(first, second) == [2]
    assert gone(first, replace(second, asked=2)) == [9]


def test_a_response_that_is_judged_wrong_takes_back_that_it_was_wanted_and_the_other_way_round():
    asked = "What is my dog called?"
    wanted = [judged(1, asked, "It is Moon."), judged(2, "what is my dog called", "it is moon")]
    wrong = judged(3, asked, "It is Moon.", bad=True)
    assert gone(*wanted, wrong) == [1, 2]
    assert gone(*wanted, wrong, judged(4, asked, "It is Moon.", asked=2)) == [3]
    assert gone(wrong, judged(5, asked, "It is Rex.")) == []  # a correction elsewhere
    assert gone(wrong, judged(6, "What is my cat called?", "It is Moon.")) == []
    assert gone(wrong, judged(7, asked, "It is Sun.", bad=True)) == []  # both are wrong
    assert gone(judged(1, "???", "!"), judged(2, "!", "!", bad=True)) == []
