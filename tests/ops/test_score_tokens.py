import pytest
import torch

from edgepers.ops import embedding_entropy, mean_unit_embedding, score_tokens
from edgepers.ops.scores.reference import score_tokens_reference
from tests.numerics import assert_as_accurate_as_torch
from tests.ops.ragged import DTYPES, assert_refused, assert_traces, bad_ragged, batch

KINDS = ("windowed", "collision", "spectral", "token", "histogram")


@DTYPES
def test_scores_match_reference(dtype):
    results = []
    for width in (1, 63, 2048):
        hidden, offsets, center = batch(width, dtype)
        for some_center in (None, center):
            args = hidden, offsets, "windowed", some_center
            plain = score_tokens_reference(*args, dtype=torch.float32)
            results.append(
                [torch.cat([e, u.flatten()]) for e, u in (score_tokens(*args), score_tokens_reference(*args), plain)]
            )
    assert_as_accurate_as_torch(*(torch.cat(values) for values in zip(*results, strict=True)))


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_two_ops(kind):
    hidden, offsets, center = batch(64)
    center = None if kind == "histogram" else center
    entropy, embedding = score_tokens(hidden, offsets, kind, center)
    assert torch.equal(entropy, embedding_entropy(hidden, offsets, kind, center))
    assert torch.equal(embedding, mean_unit_embedding(hidden, offsets, center))


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_an_empty_batch(kind):
    entropy, embedding = score_tokens(torch.zeros(0, 8), torch.tensor([0]), kind)
    assert entropy.shape == (0,) and embedding.shape == (0, 8)


def test_scores_of_a_batch_of_many_tiles():
    hidden, offsets, center = batch(2048, lengths=(700, 1, 401, 90))  # a tile holds 512 rows of this width
    for result in zip(
        score_tokens(hidden, offsets, center=center),
        score_tokens_reference(hidden, offsets, center=center),
        score_tokens_reference(hidden, offsets, center=center, dtype=torch.float32),
        strict=True,
    ):
        assert_as_accurate_as_torch(*result)


@bad_ragged
def test_scores_refuse_bad_arguments(hidden, offsets, center, match):
    assert_refused(score_tokens, match, hidden, offsets, center=center)


def test_scores_refuse_an_unknown_kind():
    assert_refused(score_tokens, "kind is 'best'", torch.ones(4, 2), torch.tensor([0, 4]), "best")


def test_scores_trace():
    hidden, offsets, center = batch(16, lengths=(3, 20))
    assert_traces(score_tokens, hidden, offsets, "windowed", center)
