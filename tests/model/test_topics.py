import numpy as np
import pytest
import torch

from edgepers.model.topics import FREQUENT, TopicEmbedding, packaged_questions

TABLE = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
RNG = np.random.default_rng(0)
BACKGROUND = [RNG.choice(50, RNG.integers(1, 9), p=np.arange(50, 0, -1) / 1275).tolist() for _ in range(200)]


def slow(rows: list[list[int]]) -> np.ndarray:
    """Arora's mean and a whitening by the covariance's eigenvectors, token by token."""
    every = [token for row in BACKGROUND for token in row]
    table = TABLE.double().numpy()

    def mean(row):
        weights = [FREQUENT / (FREQUENT + every.count(token) / len(every)) for token in row]
        return sum(w * table[t] for w, t in zip(weights, row, strict=True)) / sum(weights)

    means = np.array([mean(row) for row in BACKGROUND])
    values, vectors = np.linalg.eigh(np.cov(means.T, bias=True))
    white = (np.array([mean(row) for row in rows]) - means.mean(0)) @ vectors / np.sqrt(values)
    return white / np.linalg.norm(white, axis=1, keepdims=True)


def test_products_are_those_of_the_formula():
    rows = [[1, 2, 3], [4], [1, 1, 40], [45, 3]]
    found = TopicEmbedding(TABLE, BACKGROUND)(TABLE, rows)
    assert found.dtype == np.float32 and found.shape == (4, 8)
    np.testing.assert_allclose(found @ found.T, slow(rows) @ slow(rows).T, atol=1e-5)


def test_a_text_is_embedded_alone_as_in_a_batch_and_an_empty_one_is_zeros():
    topics = TopicEmbedding(TABLE, BACKGROUND)
    both = topics(TABLE, [[1, 2], [], [7, 8, 9]])
    np.testing.assert_allclose(both[[0]], topics(TABLE, [[1, 2]]), atol=1e-6)
    assert not both[1].any() and topics(TABLE, []).shape == (0, 8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_table_of_half_precision_is_read_as_it_is(dtype):
    half = TABLE.to(dtype)
    found = TopicEmbedding(half, BACKGROUND)(half, [[1, 2, 3]])
    np.testing.assert_allclose(found, TopicEmbedding(half.float(), BACKGROUND)(half.float(), [[1, 2, 3]]), atol=1e-6)


def test_packaged_questions_are_enough_to_whiten_by():
    questions = packaged_questions()
    assert len(set(questions)) > 400 and all(question.strip() for question in questions)


def test_a_question_in_other_words_is_nearer_than_one_about_something_else(llm):
    mine, again, other = llm.topics(
        ["What is the name of my dog?", "My dog, how is it called?", "What is the name of my sister?"]
    )
    assert mine @ again > mine @ other
    assert llm.topics(["What is my cat called?"]).shape == (1, llm.topic_width)
    assert not llm.topics([""]).any()
