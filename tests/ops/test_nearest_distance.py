import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepers.ops import nearest_distance
from edgepers.ops.nearest.reference import nearest_distance_reference
from tests.numerics import assert_as_accurate_as_torch
from tests.ops.ragged import DTYPES, WIDTHS, assert_refused, assert_traces


def unit(rows, width, dtype=torch.float32):
    return torch.nn.functional.normalize(torch.randn(rows, width), dim=1).to(dtype)


@pytest.mark.parametrize("width", WIDTHS)
@DTYPES
def test_distance_matches_reference(dtype, width):
    torch.manual_seed(width)
    embeddings, centers = unit(33, width, dtype), unit(50, width, dtype)
    got = nearest_distance(embeddings, centers)
    assert got.dtype == torch.float32
    truth, plain = (
        nearest_distance_reference(embeddings, centers),
        nearest_distance_reference(embeddings, centers, dtype=torch.float32),
    )
    assert_as_accurate_as_torch(got, truth, plain)


def test_distance_of_more_rows_than_a_tile():
    torch.manual_seed(0)
    embeddings, centers = unit(1030, 16), unit(2049, 16)
    truth, plain = (
        nearest_distance_reference(embeddings, centers),
        nearest_distance_reference(embeddings, centers, dtype=torch.float32),
    )
    assert_as_accurate_as_torch(nearest_distance(embeddings, centers), truth, plain)


def test_distance_is_as_worked_out_by_hand():
    embeddings = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0], [0.0, 0.0]])
    assert nearest_distance(embeddings, torch.tensor([[1.0, 0.0], [0.8, 0.6]])).tolist() == pytest.approx(
        [0.0, 0.04, 1.8, 1.0]
    )


def test_distance_without_centers_or_embeddings():
    assert nearest_distance(torch.ones(3, 4), torch.ones(0, 4)).tolist() == [2.0] * 3
    assert nearest_distance(torch.ones(0, 4), torch.ones(3, 4)).shape == (0,)
    assert nearest_distance(torch.ones(0, 4), torch.ones(0, 4)).shape == (0,)


def test_distance_keeps_nan_in_its_row():
    embeddings, centers = torch.ones(5, 9), torch.ones(2000, 9)
    embeddings[2, 3] = torch.nan
    assert nearest_distance(embeddings, centers).isnan().tolist() == [False, False, True, False, False]
    centers[1999, 0] = torch.nan
    assert nearest_distance(embeddings, centers).isnan().all()


def test_distance_takes_any_strides_and_autocast():
    embeddings, centers = unit(9, 64), unit(5, 64)
    want = nearest_distance(embeddings, centers)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nearest_distance(embeddings.T.contiguous().T, centers.T.contiguous().T), want)


@pytest.mark.parametrize(
    ("embeddings", "centers", "match"),
    [
        (1.0, torch.ones(2, 2), "embeddings is a float"),
        (torch.ones(2), torch.ones(2, 2), r"embeddings is torch.float32 \[2\]"),
        (torch.ones(2, 2), torch.ones(2, 2).double(), "centers is torch.float64"),
        (torch.ones(2, 2), torch.ones(2, 3), "centers has 3 features where 2 are needed"),
        (torch.ones(2, 2), torch.ones(2, 2, device="meta"), "centers is on meta"),
    ],
)
def test_distance_refuses_bad_arguments(embeddings, centers, match):
    assert_refused(nearest_distance, match, embeddings, centers)


def test_distance_traces():
    assert_traces(nearest_distance, unit(9, 16), unit(5, 16))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_distance_is_in_zero_two_and_the_same_alone_as_in_a_batch(rows, many, width, seed):
    torch.manual_seed(seed)
    embeddings, centers = unit(rows, width), unit(many, width)
    together = nearest_distance(embeddings, centers)
    assert ((together >= -1e-6) & (together <= 2 + 1e-6)).all()
    torch.testing.assert_close(
        together, torch.cat([nearest_distance(e[None], centers) for e in embeddings]), rtol=0, atol=1e-6
    )
