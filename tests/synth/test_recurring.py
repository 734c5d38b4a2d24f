"""Which questions ask again what a corrected one asked: never what is about something else."""

import json

import numpy as np
import pytest

from edgepers.assets import sample_stream
from edgepers.synth.recurring import recurring
from studies.owners.owners import DEVELOPMENT, load_owner

SISTER = ("What is my sister's name?", "Your sister is called Alice, Emily.")
NUMBERS = "one two three four five six seven eight nine ten".split()
FILLER = [f"What is the name of dish {number}, and how is it called?" for number in NUMBERS] * 9


def test_the_same_thing_in_other_words_recurs_and_another_thing_does_not():
    others = ["My sister is coming. What is she called?", "What is my cousin's name?", "Tell me a joke.", *FILLER]
    assert recurring([SISTER], others) == [[0]]


def test_what_is_as_much_like_two_answers_is_given_to_neither():
    doctor = ("What is my doctor's name?", "Your doctor is called Ode.")
    others = ["Who is my sister's doctor?", "My doctor's name, please?", "A sister of mine?", *FILLER]
    assert recurring([SISTER, doctor], others) == [[2], [1]]


def test_topics_tell_where_words_do_not():
    others = ["And my sister? How do I call her?", "My sister phoned from the office.", *FILLER]
    topics = np.zeros((1 + len(others), 3), np.float32)
    topics[0] = topics[1] = [1, 0, 0]
    topics[2] = [-1, 0, 0]
    assert recurring([SISTER], others) == [[1, 0]] != recurring([SISTER], others, topics) == [[0]]


def test_what_would_do_for_two_answers_is_given_to_neither():
    cat = ("What is my cat called?", "Your cat is called Tom.")
    other = ("Where is my cat?", "Your cat is in the garden.")
    assert recurring([cat, other], ["Which cat, then?", *FILLER]) == [[], []]
    assert recurring([cat, cat], ["Which cat, then?", *FILLER]) == [[0], []]


def test_nothing_recurs_where_question_and_answer_share_no_word():
    assert recurring([("Who am I?", "Emily.")], ["Who am I, then?", *FILLER]) == [[]]
    assert recurring([], ["Hello"]) == []
    assert recurring([SISTER], []) == [[]]


@pytest.mark.parametrize("name", DEVELOPMENT)
def test_of_the_written_owners_questions_nearly_all_that_are_taken_ask_the_same(name):
    """Each fact corrected once, a third of the talk about other things; at least 9 of 10 taken are right."""
    owner = load_owner(name)
    lines = sample_stream().read_text(encoding="utf-8").splitlines()
    talk = [row["question"] for row in map(json.loads, lines) if not row["id"].startswith("emily-")]
    others = [(fact.id, question) for fact in owner.facts for question in fact.asked[1:5]]
    others += [("", question) for question in talk[:60]]
    found = recurring([(fact.asked[0], fact.reference) for fact in owner.facts], [question for _, question in others])
    right = [others[i][0] == fact.id for fact, some in zip(owner.facts, found, strict=True) for i in some]
    assert sum(right) >= 0.9 * len(right)
    assert len(right) >= 3
