"""Chat templates as they are met: what each writes around messages, and which cannot be used."""

import re

import pytest
from tokenizers import processors
from transformers import AutoTokenizer

from edgepers.assets import model_folder
from edgepers.errors import ModelError
from edgepers.model.prompts import Prompts

TURN = "<|{{ m.role }}|>{{ m.content }}<|end|>"
CHAT = "{% for m in messages %}" + TURN + "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
REFUSES_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHAT
ALTERNATES = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
    "{% endif %}" + TURN + "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
PARTS = CHAT.replace(
    "{{ m.content }}", "{% for c in m.content %}{% if c.type == 'text' %}{{ c.text }}{% endif %}{% endfor %}"
)
EMPTY_THOUGHT = "<think>\n\n</think>\n\n"
QWEN = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}"
    "{% endif %}{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
R1 = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
DATED = "{{ 'Today: ' + strftime_now('%d %b %Y %H:%M:%S') }}" + CHAT
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "I have a dog."},
    {"role": "user", "content": "Is she old?"},
]


@pytest.fixture
def tokenizer():
    return AutoTokenizer.from_pretrained(model_folder())


def prompts(tokenizer, template):
    tokenizer.chat_template = template
    return Prompts(tokenizer, "a-model")


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        (CHAT, "<|system|>Be kind.<|end|><|user|>I have a dog.\n\nIs she old?<|end|><|assistant|>"),
        (PARTS, "<|system|>Be kind.<|end|><|user|>I have a dog.\n\nIs she old?<|end|><|assistant|>"),
        (REFUSES_SYSTEM, "<|user|>Be kind.\n\nI have a dog.\n\nIs she old?<|end|><|assistant|>"),
        (ALTERNATES, "<|user|>Be kind.\n\nI have a dog.\n\nIs she old?<|end|><|assistant|>"),
        (None, "User: Be kind.\n\nI have a dog.\n\nIs she old?\nAssistant:"),
    ],
    ids=["plain", "parts", "no system", "alternates", "none"],
)
def test_a_talk_is_written_as_the_template_takes_it(tokenizer, template, prompt):
    assert prompts(tokenizer, template).prompt(TALK) == prompt


@pytest.mark.parametrize(
    ("tail", "end", "named", "stop"),
    [
        ("<|end|>", "<|end|>", False, ()),
        ("", "<|end|>", True, ()),  # a template that writes no end, of a tokenizer that names one
        ("\n", "<|end|>", True, ()),
        ("", "<|user|>", False, ()),  # where the next turn begins
        ("\n### ", "\n### ", False, ("\n###",)),
    ],
)
def test_what_is_learned_ends_as_the_template_or_the_tokenizer_ends_it(tokenizer, tail, end, named, stop):
    if not named:
        tokenizer.eos_token = None
    written = tail.replace("\n", "{{ '\\n' }}")
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}" + written + "{% endfor %}"
    found = prompts(tokenizer, template + "{% if add_generation_prompt %}<|assistant|>{% endif %}")
    assert found.completion("Is she old?", "Yes.") == f"Yes.{end}"
    assert found.stop == stop
    assert found.end_of_turn == end


def test_without_a_template_and_an_end_what_is_learned_ends_where_the_other_side_would_go_on(tokenizer):
    assert prompts(tokenizer, None).completion("Is she old?", "Yes.") == " Yes.<|end|>"
    tokenizer.eos_token = None
    found = prompts(tokenizer, None)
    assert found.completion("Is she old?", "Yes.") == " Yes.\nUser:"
    assert found.stop == ("\nUser:",)
    silent = prompts(tokenizer, "{% for m in messages %}{{ m.content }}{% endfor %}")
    assert (silent.completion("Is she old?", "Yes."), silent.stop) == ("Yes.\nUser:", ("\nUser:",))


@pytest.mark.parametrize(
    "template", [QWEN, QWEN.replace("enable_thinking", "other"), R1], ids=["option", "none", "opened"]
)
def test_a_thought_is_closed_before_an_answer_is_asked_or_learned(tokenizer, template):
    found = prompts(tokenizer, template)
    assert re.search(r"<\|assistant\|><think>\s*</think>\s*$", found.prompt("Hi"))
    assert found.completion("Hi", "<think>hm</think>Hello.") == "Hello.<|end|>"


def test_earlier_answers_lose_their_thoughts(tokenizer):
    talk = [*TALK, {"role": "assistant", "content": "<think>ten?</think>Ten."}, {"role": "user", "content": "So old!"}]
    assert prompts(tokenizer, CHAT).prompt(talk).endswith("<|assistant|>Ten.<|end|><|user|>So old!<|end|><|assistant|>")


def test_a_date_is_told_to_the_day(tokenizer):
    found = prompts(tokenizer, DATED)
    assert re.match(r"Today: \d\d \w+ \d{4} 00:00:00<\|user\|>", found.prompt("Hi"))
    assert found.completion("Hi", "Hello.") == "Hello.<|end|>"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (
            "{% if messages[0].role != 'system' %}{{ raise_exception('System first') }}{% endif %}" + CHAT,
            "System first",
        ),
        ("{% for m in messages %}{{ m.content }", "unexpected"),
        ("{% for m in messages %}{{ m.content | from_json }}{% endfor %}", "from_json"),
        ("{{ 'Hello' }}", "loses the question or the answer"),
        ({"tool_use": CHAT, "rag": CHAT}, "none of them named 'default'"),
    ],
    ids=["system", "syntax", "filter", "deaf", "named"],
)
def test_a_template_that_cannot_be_used_is_one_line(tokenizer, template, says):
    with pytest.raises(ModelError, match=says) as error:
        prompts(tokenizer, template)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("--model a-model: ")


def test_roles_that_are_not_known_and_talks_without_a_question_are_one_line(tokenizer):
    for talk in ([{"role": "tool", "content": "4"}], [{"role": "system", "content": "Be kind."}]):
        with pytest.raises(ModelError, match=r"roles are|no user message"):
            prompts(tokenizer, CHAT).prompt(talk)


def test_what_the_tokenizer_puts_before_any_text_stands_there_once(tokenizer):
    """A begin-of-text token, whether the template writes it not at all, once or twice."""
    mark = tokenizer.convert_tokens_to_ids("<|system|>")
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
        "<|system|> $A", special_tokens=[("<|system|>", mark)]
    )
    for template in (CHAT, "<|system|>" + CHAT, "<|system|><|system|>" + CHAT, None):
        found = prompts(tokenizer, template)
        ids = found.ids(found.prompt("Hi"))
        assert found.beginning == (mark,)
        assert ids[0] == mark
        assert ids.count(mark) == 1
