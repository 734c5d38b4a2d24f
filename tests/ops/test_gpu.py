"""The ops on a GPU against float64, whatever serves them there.

The GPU's libraries are named by `edgepers.ops.backends`.
"""

import pytest
import torch

from edgepers import ops
from edgepers.ops import dissimilarity_from_sums, nearest_distance, score_tokens
from edgepers.ops.dissimilarity.reference import dissimilarity_from_sums_reference
from edgepers.ops.nearest.reference import nearest_distance_reference
from edgepers.ops.scores.reference import score_tokens_reference
from tests.numerics import assert_as_accurate_as_torch
from tests.ops.ragged import DTYPES, batch, offsets_of
from tests.ops.test_dissimilarity_from_sums import case
from tests.ops.test_nearest_distance import unit

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


def test_backends_launch_and_agree():
    assert set(ops.backends("cuda").values()) <= {"cuda", "triton", "torch"}


@DTYPES
def test_scores_match_reference(dtype):
    results = []
    for width in (1, 63, 64, 256, 2048, 3072):
        hidden, offsets, center = batch(width, dtype, lengths=(1, 2, 15, 16, 17, 140))
        for some in (None, center):
            got = [
                value.cpu()
                for value in score_tokens(hidden.cuda(), offsets, center=None if some is None else some.cuda())
            ]
            truth, plain = (
                score_tokens_reference(hidden, offsets, "windowed", some, dtype=d)
                for d in (torch.float64, torch.float32)
            )
            results.append([torch.cat([e, u.flatten()]) for e, u in (got, truth, plain)])
    assert_as_accurate_as_torch(*(torch.cat(values) for values in zip(*results, strict=True)))


@pytest.mark.parametrize("scale", [1e-25, 1e-18, 1e15, 1e25])
def test_scores_hold_at_any_magnitude(scale):
    hidden = torch.rand(40, 33) * 2 - 1
    hidden[:20] *= scale
    entropy, embedding = score_tokens(hidden.cuda(), offsets_of([40]))
    truth = score_tokens_reference(hidden, offsets_of([40]))
    torch.testing.assert_close(entropy.cpu(), truth[0].float(), rtol=0, atol=1e-6)
    torch.testing.assert_close(embedding.cpu(), truth[1].float(), rtol=0, atol=1e-6)


def test_scores_that_are_not_finite_stay_in_their_set():
    hidden = torch.randn(60, 40)
    hidden[30, 3] = torch.nan
    entropy, embedding = score_tokens(hidden.cuda(), offsets_of([20, 20, 20]))
    assert entropy.isnan().tolist() == embedding.isnan().all(1).tolist() == [False, True, False]


@DTYPES
def test_scores_are_the_same_bits_alone_and_in_a_batch(dtype):
    lengths = [5, 129, 40, 300, 1, 16]
    hidden, offsets, center = (value.cuda() for value in batch(200, dtype, tuple(lengths)))
    for some in (None, center):
        together = score_tokens(hidden, offsets, center=some)
        for i, rows in enumerate(hidden.split(lengths)):
            alone = score_tokens(rows, offsets_of([len(rows)]), center=some)
            assert all(torch.equal(a[i : i + 1], b) for a, b in zip(together, alone, strict=True))


def test_scores_run_on_the_current_stream():
    """A side stream sleeps, then fills the rows: a launch on any other stream reads them while they are NaN.

    What torch makes does not wait for the default stream. The first turn allocates, loads kernels and compiles, which
    may wait for the whole GPU; offsets are few enough to be copied without waiting.
    """
    hidden, offsets = torch.randn(4000, 256, device="cuda"), offsets_of([100] * 40)
    want = score_tokens(hidden, offsets)
    later, stream = torch.empty_like(hidden), torch.cuda.Stream()
    for cycles in (1, 500_000_000):  # a quarter of a second or so
        later.fill_(torch.nan)
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(cycles)
            later.copy_(hidden)
            got = score_tokens(later, offsets)
            busy = not stream.query()
        torch.cuda.synchronize()
        assert all(torch.equal(*pair) for pair in zip(got, want, strict=True))
    assert busy, "the call waited for the stream: a launch on another one would not have been seen"


@DTYPES
def test_distance_matches_reference(dtype):
    torch.manual_seed(0)
    for rows, many, width in ((37, 70, 63), (3, 2500, 512), (1, 1, 1)):
        args = unit(rows, width, dtype), unit(many, width, dtype)
        plain = nearest_distance_reference(*args, dtype=torch.float32)
        assert_as_accurate_as_torch(
            nearest_distance(*(a.cuda() for a in args)).cpu(), nearest_distance_reference(*args), plain
        )


@DTYPES
def test_dissimilarity_matches_reference(dtype):
    for width in (1, 63, 512):
        args = case(width, dtype)
        truth, plain = (
            dissimilarity_from_sums_reference(*args),
            dissimilarity_from_sums_reference(*args, dtype=torch.float32),
        )
        assert_as_accurate_as_torch(dissimilarity_from_sums(*(a.cuda() for a in args)).cpu(), truth, plain)
