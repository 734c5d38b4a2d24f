"""Thoughts in every form that models write them, told apart from answers."""

import pytest

from edgepers.streams.reasoning import answer_of, closing_of, visible_answer

FORMS = [
    "<think>{}</think>",
    "<Think>{}</Think>",
    "<think time=3>{}</think>",
    "<thinking>{}</thinking>",
    "[THINK]{}[/THINK]",
    "<reasoning>{}</reasoning>",
    "<thought>{}</thought>",
    "<seed:think>{}</seed:think>",
    "◁think▷{}◁/think▷",
    "<scratchpad>{}</scratchpad>",
    "<|START_THINKING|>{}<|END_THINKING|>",
    "<|inner_prefix|>{}<|inner_suffix|>",
    "<|channel>thought\n{}<channel|>",
    "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
]


@pytest.mark.parametrize("form", FORMS)
def test_a_thought_before_an_answer_goes(form):
    assert answer_of(form.format("She has a dog.\nPerhaps.") + "\n\nMoon.") == "Moon."


@pytest.mark.parametrize("form", FORMS[:-1])
def test_a_thought_in_the_middle_a_second_one_and_one_that_only_ends_go(form):
    thought = form.format("hm")
    assert answer_of(f"Her name {thought} is Moon.") == "Her name is Moon."
    assert answer_of(f"{thought}Her name {thought}is Moon.") == "Her name is Moon."
    assert answer_of("hm " + form.partition("{}")[2] + " Moon.") == "Moon."


@pytest.mark.parametrize("form", FORMS)
def test_a_thought_that_never_ends_leaves_no_answer_and_is_not_shown(form):
    begun = form.partition("{}")[0] + "She has a dog"
    assert answer_of(begun) is None
    assert visible_answer(begun).strip() == ""


def test_other_text_stays_as_it_is():
    for text in (
        "a < b and c > d",
        "<b>bold</b>",
        "Use the `<think>` tag.",
        "[1] and [TODO]",
        "two  spaces\n\n\nlines",
    ):
        assert answer_of(text) == visible_answer(text) == text


@pytest.mark.parametrize("form", FORMS)
def test_what_is_shown_while_it_is_written_never_holds_a_piece_of_a_thought(form):
    whole = form.format("hm hm") + "It is Moon."
    shown = [visible_answer(whole[:n], whole=False).strip() for n in range(len(whole) + 1)]
    assert all("It is Moon.".startswith(text) for text in shown)
    assert shown[-1] == "It is Moon."


def test_the_end_of_a_thought_that_a_prompt_opens_is_known():
    assert closing_of("<|assistant|><think>\n") == "</think>"
    assert closing_of("<|assistant|>[THINK]") == "[/THINK]"
    assert closing_of("<|assistant|><think>\n\n</think>\n\n") == closing_of("What is <think> for?") == ""
