"""Who is asked about: what stands for most of what the owner says, once."""

import json
import random
from itertools import islice

import numpy as np
import pytest

from edgepers.annotate.coverage import coverage_order, similarities, unlike
from edgepers.assets import sample_stream


def test_what_recurs_comes_first_and_its_repeats_come_late():
    other = ["Poem, please", "Fix bike", "Rain today", "Boil eggs"]
    questions = ["Sister name", *other, "Tell sister name", "Sister name again"]
    order = list(coverage_order(questions))
    assert sorted(order) == list(range(7))
    assert "ister" in questions[order[0]]
    assert {questions[i] for i in order[1:5]} == set(other)


def test_what_is_covered_is_not_asked_again():
    questions = ["My sister's name?", "Who is my sister?", "Fix my bike", "Who fixed my bike?"]
    assert next(coverage_order(questions, covered=[0])) in (2, 3)
    assert list(coverage_order(questions, covered=range(4))) == []
    assert list(coverage_order([])) == []


def test_what_is_unlike_everything_judged_stands_for_the_rest():
    judged = ["My sister's name?", "Fix my bike"]
    others = [
        "Who is my sister?",
        "Who fixed my bike?",
        "Boil eggs",
        "How to boil eggs",
        "Is it raining?",
        "Will it rain?",
    ]
    found = unlike(judged, others, most=2)
    assert len({"eggs" in question for question in found}) == 2  # one of eggs, one of rain
    assert unlike(judged, others[:1]) == others[:1]
    assert unlike(judged, []) == []
    assert unlike(judged, [judged[0]] * 5) == unlike(judged, ["", "!!!"]) == []
    assert unlike(judged, others[2:3] * 5) == others[2:3]
    many = [f"thing{i} of word{i}" for i in range(2500)]
    assert len(unlike(many, many[:5], most=3)) == 3  # compared is what there is room for
    assert unlike(many[-5:], [many[-1]] * 2500) == []


def test_each_choice_is_the_one_that_brute_force_makes():
    lines = sample_stream().read_text(encoding="utf-8").splitlines()[:60]
    questions = [json.loads(line)["question"] for line in lines]
    like = similarities(questions)
    chosen: list[int] = [4]
    for found in islice(coverage_order(questions, covered=[4]), 12):
        gains = {i: like[[*chosen, i]].max(0).sum() for i in range(60) if i not in chosen}
        assert gains[found] == pytest.approx(max(gains.values()), abs=1e-3)
        chosen.append(found)


def test_similarities_are_cosines_of_rare_words():
    more = [f"other{i} thing{i}" for i in range(4)]
    like = similarities(["red boat", "red boat", "red house", "!?", "blue sky", "green grass", *more])
    assert like.shape == (10, 10) and like[0, 1] == pytest.approx(1) and 0 < like[0, 2] < 0.5
    assert not like[3].any() and not like[0, 4] and np.allclose(like, like.T)


@pytest.mark.parametrize("alike", [True, False])
def test_ten_thousand_times_the_same_or_all_different_is_an_order_still(alike):
    questions = ["What is my dog called?" if alike else f"word{i} other{i}" for i in range(300)]
    assert sorted(coverage_order(questions)) == list(range(300))


def test_sixteen_requests_a_round_reach_nearly_every_fact_of_the_sample():
    """Three rounds of 16 in any order of the stream; asking the newest reaches 13 of 20."""
    rows = [json.loads(line) for line in sample_stream().read_text(encoding="utf-8").splitlines()]
    for seed in range(2):
        random.Random(seed).shuffle(rows)
        asked: list[int] = []
        for seen in (200, 400, 600):
            order = coverage_order([row["question"] for row in rows[:seen]], covered=asked)
            asked += list(islice(order, 16))
        facts = {rows[i]["id"].split("-")[1] for i in asked if rows[i]["id"].startswith("emily-")}
        assert len(facts) >= 19
