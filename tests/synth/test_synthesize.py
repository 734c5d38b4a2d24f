import numpy as np
import pytest

from edgepers.state.records import KeptSet
from edgepers.state.variations import Variations
from edgepers.streams import Cursor
from edgepers.synth.check import refusal
from edgepers.synth.prompt import PROMPT, parse
from edgepers.synth.synthesize import digest, synthesize


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("[What is bread?]", "What is bread?"),
        ("Sure: [a [b] c] and more", "a [b] c"),
        ("[unclosed  text\nhere", "unclosed text here"),
        ("好的：【我的狗叫什么？】", "我的狗叫什么？"),
        ("no brackets", None),
        ("[ ]", None),
        ("", None),
    ],
)
def test_parse_takes_what_the_brackets_hold(answer, text):
    assert parse(answer) == text


@pytest.mark.parametrize(
    ("variation", "others", "reason"),
    [
        ("Can you tell me what bread is?", [], ""),
        ("what IS bread", [], "too_near"),
        ("Mountains are tall.", [], "too_far"),
        ("Can you tell me what bread is?", ["can you tell me what bread IS"], "repeated"),
        (None, [], "no_brackets"),
    ],
)
def test_refusal_names_its_reason(variation, others, reason):
    assert refusal("What is bread?", variation, others) == reason


def test_refusal_knows_other_scripts():
    assert refusal("Какой хлеб ты любишь?", "Скажи, какой хлеб ты любишь?", []) == ""
    assert refusal("你喜欢什么面包", "请问你喜欢什么面包", []) == ""
    assert refusal("你喜欢什么面包", "山很高", []) == "too_far"


class Echo:
    """Answers a prompt with three known variations in turn."""

    def answer(self, prompts, *, adapter, max_new_tokens, sampling):
        assert not adapter
        assert all(prompt.startswith(PROMPT) for prompt in prompts)
        assert len(set(sampling.seeds)) == len(prompts)
        forms = ("[Please tell me: {}]", "[{}]", "nothing")
        return [forms[i % 3].format(prompt.removeprefix(PROMPT)) for i, prompt in enumerate(prompts)]


def kept(position: int, question: str) -> KeptSet:
    return KeptSet(
        position,
        "",
        question,
        "r",
        "The owner's answer, which is long enough.",
        "a",
        0,
        0,
        np.zeros(4, np.int8),
        Cursor(),
        1,
        "corrected",
    )


def test_synthesize_keeps_good_variations_and_counts_refusals():
    sets = [kept(3, "What is my dog called?"), kept(9, "Where do my keys hang?")]
    made = synthesize(Echo(), sets, generations=3, vary="question", seed=1, round_number=2)
    assert [m.position for m in made] == [3, 9]
    assert made[0].pairs == (("Please tell me: What is my dog called?", sets[0].wanted),)
    assert made[0].refused == {"too_near": 1, "no_brackets": 1}
    assert Variations.from_json(made[0].to_json()) == made[0]


def test_pair_varies_the_response_too_and_digest_notices():
    one = [kept(3, "What is my dog called?")]
    made = synthesize(Echo(), one, generations=3, vary="pair", seed=1, round_number=1)
    assert made[0].pairs == (
        ("Please tell me: What is my dog called?", "Please tell me: The owner's answer, which is long enough."),
    )
    assert digest(one[0], 3, "pair") != digest(one[0], 3, "question")
