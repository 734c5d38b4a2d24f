import re
from collections import Counter

import pytest
from rouge_score.rouge_scorer import RougeScorer

from edgepers.assets import sample_stream
from edgepers.evaluate.evaluator import floors
from edgepers.evaluate.rouge import rouge1, rouge1_unicode
from edgepers.streams import DialogueSet, read_dialogue_sets


def slow_rouge1(reference: str, answer: str) -> float:
    a, b = (Counter(re.findall("[a-z0-9]+", t.lower())) for t in (reference, answer))
    common = sum((a & b).values())
    return 0.0 if not common else 2 * common / (sum(a.values()) + sum(b.values()))


PAIRS = [
    ("The cat sat.", "the cat sat down"),
    ("a a b", "a b b"),
    ("", "x"),
    ("Don't!", "do not"),
    ("Ünïcode", "unicode"),
]


def test_rouge1_is_the_mean_f_of_counted_words():
    assert rouge1(*zip(*PAIRS, strict=True)) == pytest.approx(sum(slow_rouge1(*p) for p in PAIRS) / len(PAIRS))
    assert rouge1([], []) == 0.0


def test_rouge1_is_that_of_rouge_score_to_the_bit():
    scorer = RougeScorer(["rouge1"], use_stemmer=False)
    owners = read_dialogue_sets(sample_stream(), need_reference=True)
    pairs = [*PAIRS, *((d.reference, d.response or d.question) for d in owners)]
    assert len(pairs) > 500
    assert [rouge1([a], [b]) for a, b in pairs] == [scorer.score(a, b)["rouge1"].fmeasure for a, b in pairs]


@pytest.mark.parametrize("text", ["The cat sat.", "Кошка сидит", "القط جالس", "बिल्ली बैठी है", "猫坐着", "แมวนั่ง"])
def test_rouge1_of_any_script_with_itself_is_one(text):
    assert rouge1_unicode(text, text) == 1.0
    assert rouge1_unicode(text, "zzz") == 0.0


def test_floors_choose_the_constant_answer_without_the_test_set():
    test = [DialogueSet("a b c", None, "a b")]
    floor = floors(test, ["x y", "x z", "a b"])
    assert floor.echo == pytest.approx(0.8)
    assert floor.constant_answer in ("x y", "x z")
    assert floor.constant == 0.0
    assert floors(test, []).constant is None
