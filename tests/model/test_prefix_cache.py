import pytest

from edgepers.model.prefix_cache import PrefixCache

FIRST = [{"role": "user", "content": "What is the capital of France, and which river runs through it, do you know?"}]


def talk(llm, turns=1):
    """Turns and the model's answers to them, as a program sends them again."""
    messages = list(FIRST)
    for number in range(turns):
        said = llm.complete(messages, max_tokens=24).text
        messages += [{"role": "assistant", "content": said}, {"role": "user", "content": f"And what about {number}?"}]
    return messages


@pytest.fixture(autouse=True)
def _nothing_remembered(llm):
    llm.talks = PrefixCache()


def test_an_answer_is_the_same_whether_its_talk_was_remembered_or_not(llm):
    for turns in range(3):
        messages = talk(llm, turns)
        plain = llm.complete(messages, max_tokens=24)
        assert llm.complete(messages, max_tokens=24, remember=True) == plain
        assert llm.complete(messages, max_tokens=24, remember=True) == plain
    assert llm.talks.reused_tokens > 100


def test_the_next_turn_reads_only_what_is_new(llm):
    one, two = talk(llm, 1), talk(llm, 2)
    first = llm.complete(one, max_tokens=24, remember=True)
    llm.complete(two, max_tokens=8, remember=True)
    assert first.prompt_tokens <= llm.talks.reused_tokens <= first.prompt_tokens + first.completion_tokens
    assert len(llm.talks._talks) == 1  # it went on, and takes the place of what it was


def test_a_talk_that_begins_alike_leaves_the_other_as_it_is(llm):
    system = {"role": "system", "content": "Be brief, be kind, and answer in whole sentences of simple words, please."}
    long = [system, *talk(llm, 3)]
    llm.complete(long, max_tokens=4, remember=True)
    other = [system, {"role": "user", "content": "Hi"}]
    plain = llm.complete(other, max_tokens=8)
    assert llm.complete(other, max_tokens=8, remember=True) == plain
    assert len(llm.talks._talks) == 2 and llm.talks.reused_tokens >= 16
    assert llm.complete(long, max_tokens=4, remember=True) == llm.complete(long, max_tokens=4)


def test_the_base_models_states_are_not_the_adapters(llm):
    cache = llm.talks
    llm.complete(FIRST, max_tokens=4, remember=True)
    assert cache.take("other", list(cache._talks[0].ids), llm.config).get_seq_length() == 0
    assert cache.reused_tokens == 0


def test_the_longest_unused_go_first_within_the_bounds(llm):
    llm.talks = PrefixCache(most_talks=2)
    for text in ("one", "two", "three"):
        llm.complete([{"role": "user", "content": f"{text} is a number, and a word of my language"}], remember=True)
    assert len(llm.talks._talks) == 2
    llm.talks = PrefixCache(most_bytes=1000)
    llm.complete(FIRST, max_tokens=4, remember=True)
    assert llm.talks.kept_bytes == 0


def test_talks_can_be_forgotten(llm):
    llm.complete(FIRST, max_tokens=4, remember=True)
    assert llm.talks.kept_bytes > 0
    llm.forget_talks()
    assert llm.talks.kept_bytes == 0


def test_an_answer_ends_when_nobody_waits_any_more(llm):
    pieces = []
    found = llm.complete(FIRST, max_tokens=64, on_text=pieces.append, stopped=lambda: len(pieces) >= 3)
    assert found.finish == "left" and found.completion_tokens < 10
    assert "".join(pieces) == found.text
    assert llm.complete(FIRST, max_tokens=64, stopped=lambda: False).finish in ("stop", "length")
