"""Leaving words out: the same ones for the same key, in order, never all."""

from edgepers.train.word_dropout import AFTER, WHOLE, drop_words, with_aside

QUESTION = "My sister is coming to see me today. What is she called?"


def test_words_are_left_out_in_order_and_differently_for_each_key():
    found = [drop_words(QUESTION, "Alice.", 0.3, 0, step) for step in range(400)]
    for text in found:
        words = iter(QUESTION.split())
        assert text and all(word in words for word in text.split())  # a subsequence
    assert len(set(found)) > 200
    assert found == [drop_words(QUESTION, "Alice.", 0.3, 0, step) for step in range(400)]
    whole = sum(text == QUESTION for text in found) / 400
    assert 1 / WHOLE - 0.06 < whole < 1 / WHOLE + 0.1
    shorter = [len(text.split()) / len(QUESTION.split()) for text in found if text != QUESTION]
    assert 0.64 < sum(shorter) / len(shorter) < 0.76


def test_something_always_stays():
    assert drop_words("Hello", "Hi", 0.9, 1) == "Hello"
    assert all(drop_words("my dog", "", 0.9, step) for step in range(100))
    assert drop_words("", "", 0.5, 1) == ""
    assert drop_words(QUESTION, "", 0.0, 1) == QUESTION
    assert drop_words("我的狗叫什么名字？", "", 0.9, 1) == "我的狗叫什么名字？"


def test_what_the_response_says_stays_whatever_else_goes():
    found = [
        drop_words("Tell me: what is my dog's name?", "Your dog is called Moon.", 0.9, step) for step in range(100)
    ]
    assert all("dog's" in text and "is" in text for text in found)
    assert any(len(text.split()) == 2 for text in found)


def test_a_share_of_questions_has_a_sentence_beside_it_mostly_before():
    asides = ["It rains.", "I am late."]
    found = [with_aside(QUESTION, asides, 0.4, 0, step) for step in range(1000)]
    beside = [text for text in found if text != QUESTION]
    assert 340 < len(beside) < 460
    assert {text.replace(QUESTION, "").strip() for text in beside} == set(asides)
    after = sum(text.startswith(QUESTION) for text in beside) / len(beside)
    assert 1 / AFTER - 0.08 < after < 1 / AFTER + 0.08
    assert found == [with_aside(QUESTION, asides, 0.4, 0, step) for step in range(1000)]
    assert with_aside(QUESTION, [], 0.9, 1) == with_aside(QUESTION, asides, 0.0, 1) == QUESTION
