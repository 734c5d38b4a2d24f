"""The answer alone, whatever chat programs and models write around it."""

import pytest

from edgepers.streams.answers import UNFINISHED, alone

CITE = "\ue200cite\ue202turn0search0\ue202turn0search4\ue201"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>hm</think><answer>The Elbe.</answer>", "The Elbe."),
        ("<|begin_of_thought|>hm<|end_of_thought|>\n<|begin_of_solution|>The Elbe.<|end_of_solution|>", "The Elbe."),
        ("<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>The Elbe.<|END_RESPONSE|>", "The Elbe."),
        ("Use <answer>x</answer> so.", "Use <answer>x</answer> so."),
        (f"It is the Elbe. {CITE}{CITE} It is long.{CITE}", "It is the Elbe. It is long."),
        ("The \ue203Elbe\ue204 is long.", "The Elbe is long."),
        ("See \ue200url\ue202the page\ue202https://example.org\ue201.", "See the page."),
        ('\ue200entity\ue202["city","Ulm","in Germany"]\ue201 is old.', "Ulm is old."),
        ("\ue200entity\ue202broken\ue201 It is old.", "It is old."),
        ("It is old.\ue200cite\ue202turn0", "It is old."),
        ("It is old【12†L1-L5】, they say【4:0†source】.", "It is old, they say."),
        ("【note】 stays", "【note】 stays"),
        ("a \ue0b0 prompt sign stays", "a \ue0b0 prompt sign stays"),
        ("<details><summary>Hint</summary>\nMore.</details>", "<details><summary>Hint</summary>\nMore.</details>"),
        ("<DETAILS TYPE='reasoning' done='true'>hm</DETAILS>The Elbe.", "The Elbe."),
        ('<details id="1" type=reasoning>hm</details>The Elbe.', "The Elbe."),
    ],
)
def test_what_is_no_part_of_an_answer_goes_and_the_rest_stays(text, answer):
    assert alone(text) == (answer, "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<think>hm", UNFINISHED),
        ('<details type="reasoning" done="false">hm', UNFINISHED),
        ('Look:\n<details type="tool_calls" done="true">x</details>\n', "an answer that ends in a tool's call"),
        ("cut \ud83d", "an answer with half a character (a lone surrogate)"),
    ],
)
def test_what_is_not_whole_is_no_answer(text, why):
    assert alone(text) == ("", why)


def test_a_thought_alone_is_nothing():
    assert alone("<think>hm</think>\n") == ("", "")


def test_openings_without_an_end_are_no_trap():
    text = "<details " * 2000 + "\ue200" * 2000 + "【1†" * 2000 + "<think" * 2000
    assert alone(text)[1] in ("", UNFINISHED)
