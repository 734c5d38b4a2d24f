import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepers.ops import mean_unit_embedding
from edgepers.ops.embedding.reference import mean_unit_embedding_reference
from tests.numerics import assert_as_accurate_as_torch
from tests.ops.ragged import DTYPES, WIDTHS, assert_refused, assert_traces, bad_ragged, batch, offsets_of


def one(rows, center=None):
    return mean_unit_embedding(rows, offsets_of([len(rows)]), center)[0]


@pytest.mark.parametrize("width", WIDTHS)
@DTYPES
def test_embedding_matches_reference(dtype, width):
    hidden, offsets, center = batch(width, dtype)
    for some_center in (None, center):
        got = mean_unit_embedding(hidden, offsets, some_center)
        truth = mean_unit_embedding_reference(hidden, offsets, some_center)
        assert got.dtype == torch.float32
        assert_as_accurate_as_torch(
            got, truth, mean_unit_embedding_reference(hidden, offsets, some_center, dtype=torch.float32)
        )


def test_embedding_is_as_worked_out_by_hand():
    rows = torch.tensor([[2.0, 0.0], [4.0, 6.0], [0.0, 2.0]])
    assert one(rows).tolist() == pytest.approx([6 / 10, 8 / 10])
    assert one(torch.cat([rows, torch.zeros(3, 2)]), center=torch.tensor([1.0, 4.0])).tolist() == pytest.approx(
        [3 / 5, -4 / 5]
    )


def test_embedding_of_a_zero_mean_is_a_zero_vector():
    for rows in (torch.zeros(5, 7), torch.cat([torch.eye(7), -torch.eye(7)]).bfloat16()):
        assert one(rows).tolist() == [0.0] * 7
    assert one(torch.ones(5, 7), center=torch.ones(7)).tolist() == [0.0] * 7


@pytest.mark.parametrize("scale", [1e-44, 1e-25, 1e15, 1e25, 3e38])
def test_embedding_holds_at_any_magnitude_of_float32(scale):
    hidden = torch.rand(40, 33) * scale
    for center in (None, -hidden[3]):
        torch.testing.assert_close(
            one(hidden, center), mean_unit_embedding_reference(hidden, offsets_of([40]), center)[0].float()
        )


def test_embedding_that_is_not_finite_stays_in_its_set():
    hidden, offsets, _ = batch(16, lengths=(20, 20, 20))
    clean = mean_unit_embedding(hidden, offsets)
    hidden[25, 3] = math.nan
    got = mean_unit_embedding(hidden, offsets)
    assert got.isnan().all(1).tolist() == [False, True, False]
    assert torch.equal(got[[0, 2]], clean[[0, 2]])


def test_embedding_takes_an_empty_batch_and_rows_without_features():
    assert mean_unit_embedding(torch.zeros(0, 8), torch.tensor([0])).shape == (0, 8)
    assert mean_unit_embedding(torch.zeros(5, 0), torch.tensor([0, 2, 5])).shape == (2, 0)


def test_embedding_takes_any_strides_offsets_and_autocast():
    hidden, offsets, center = batch(64)
    want = mean_unit_embedding(hidden, offsets, center)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(
            mean_unit_embedding(hidden.T.contiguous().T, offsets.int(), center.repeat_interleave(2)[::2]), want
        )


@bad_ragged
def test_embedding_refuses_bad_arguments(hidden, offsets, center, match):
    assert_refused(mean_unit_embedding, match, hidden, offsets, center)


def test_embedding_traces():
    assert_traces(mean_unit_embedding, *batch(16, lengths=(3, 20)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 70), st.booleans(), st.integers(0, 2**31))
def test_embedding_is_of_unit_length_and_the_same_alone_as_in_a_batch(lengths, width, centred, seed):
    torch.manual_seed(seed)
    hidden, center = torch.randn(sum(lengths), width), torch.randn(width) if centred else None
    together = mean_unit_embedding(hidden, offsets_of(lengths), center)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(len(lengths)))
    alone = torch.stack([one(rows, center) for rows in hidden.split(lengths)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
