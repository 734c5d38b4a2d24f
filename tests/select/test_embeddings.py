"""What sets are compared by: the selector takes an encoder's topics, or the mean of its hidden states."""

import numpy as np
import pytest

from edgepers.annotate.requests import annotate, requests
from edgepers.annotate.sources import SKIPPED, Answer
from edgepers.errors import StateError
from edgepers.hashing import hash_text
from edgepers.select.policies import named_policies
from edgepers.select.selector import Selector
from edgepers.select.verdicts import Verdicts
from edgepers.state.buffer import Buffer
from edgepers.streams import Arrival, Cursor, DialogueSet
from tests.conftest import WordEncoder


class TopicEncoder(WordEncoder):
    """Has topics, too: a direction for each first word of a question; none for "?"."""

    topic_width = 128

    def topics(self, questions):
        rows = np.zeros((len(questions), self.topic_width), np.float32)
        for row, question in zip(rows, questions, strict=True):
            seed = hash_text(question.split()[0])
            row[:] = np.random.default_rng(seed).standard_normal(self.topic_width) * (question[0] != "?")
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def offer(selector: Selector, *questions: str):
    return selector.offer([Arrival(DialogueSet(q, f"{q}, you say?"), Cursor(0), Cursor(0)) for q in questions])


def test_the_topics_of_an_encoder_that_has_them_are_stored(tmp_path):
    with Buffer(tmp_path, 100_000) as buffer:
        offer(Selector(buffer, TopicEncoder()), "dog", "dog again", "cat")
        first, second, third = buffer
        assert first.embedding.shape == (128,)
        assert (first.embedding == second.embedding).all() and (first.embedding != third.embedding).any()


@pytest.mark.parametrize(("encoder", "embedding"), [(TopicEncoder(), "hidden"), (WordEncoder(), "question")])
def test_hidden_states_are_compared_where_they_are_asked_for_or_there_is_nothing_else(tmp_path, encoder, embedding):
    with Buffer(tmp_path, 100_000) as buffer:
        offer(Selector(buffer, encoder, embedding=embedding), "dog")
        assert next(iter(buffer)).embedding.shape == (encoder.hidden_size,)


def test_a_state_keeps_the_embedding_that_it_was_made_with(tmp_path):
    with Buffer(tmp_path, 100_000) as buffer:
        Selector(buffer, TopicEncoder())
        with pytest.raises(StateError, match=r"made with another embedding \(question, now hidden\); give the same"):
            Selector(buffer, TopicEncoder(), embedding="hidden")


@pytest.mark.parametrize("policy", [name for name in named_policies() if name != "loss"])
@pytest.mark.parametrize("question", ["dog dog", "?"])
def test_a_thousand_sets_that_say_the_same_fill_the_budget_and_no_more(tmp_path, policy, question):
    with Buffer(tmp_path, 48_000, batch=32) as buffer:
        selector = Selector(buffer, TopicEncoder(), policy=policy, count_repeats=False)
        for _ in range(10):
            offer(selector, *[question] * 100)
        assert len(buffer.marks) > 30 and buffer.disk_bytes() <= 48_000
        assert buffer.progress.admitted - buffer.progress.evicted == len(buffer.marks)
        asked = annotate(selector, lambda kept: Answer("No."), 1, 16)
        assert asked == {"corrected": 16}


def test_what_recurs_outlives_what_was_said_once(tmp_path):
    with Buffer(tmp_path, 48_000, batch=32) as buffer:
        selector = Selector(buffer, TopicEncoder(), policy="typical")
        offer(selector, "zebra one", "zebra two")
        offer(selector, *(f"word{i} once" for i in range(300)))
        kept = [one.question for one in buffer]
    assert buffer.progress.evicted > 100 and kept[:2] == ["zebra one", "zebra two"]


def test_one_kept_set_and_sixteen_requests_or_an_owner_who_never_answers(tmp_path):
    with Buffer(tmp_path, 100_000) as buffer:
        selector = Selector(buffer, TopicEncoder())
        assert annotate(selector, lambda kept: SKIPPED, 1, 16) == {}
        offer(selector, "dog")
        assert annotate(selector, lambda kept: SKIPPED, 1, 16) == {"skipped": 1}
        assert annotate(selector, lambda kept: None, 2, 16) == {}
        assert annotate(selector, lambda kept: Answer(None), 3, 16) == {"good": 1}


def test_asked_at_random_is_the_same_each_time_and_another_order_for_another_seed(tmp_path):
    orders = []
    for number, seed in enumerate((0, 0, 1)):
        with Buffer(tmp_path / str(number), 100_000) as buffer:
            selector = Selector(buffer, TopicEncoder(), seed=seed)
            offer(selector, *(f"dog {i}" for i in range(20)))
            asked: list[str] = []
            annotate(selector, lambda kept, asked=asked: asked.append(kept.question) or Answer(None), 1, 10, "random")
            orders.append(asked)
    assert orders[0] == orders[1] != orders[2] and len(set(orders[0])) == 10
    assert orders[0] not in (sorted(orders[0]), sorted(orders[0], reverse=True))


def test_asked_at_random_where_nothing_was_ever_kept_is_nobody(tmp_path):
    with Buffer(tmp_path, 100_000) as buffer:
        assert requests(Verdicts(buffer), 1, 16, "random") == []
