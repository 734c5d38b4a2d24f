import numpy as np
import pytest
import torch

from edgepers.ops import dissimilarity_from_sums
from edgepers.ops.dissimilarity.formula import distance, distance_to_sum
from edgepers.ops.dissimilarity.reference import dissimilarity_from_sums_reference
from tests.numerics import assert_as_accurate_as_torch
from tests.ops.ragged import DTYPES, WIDTHS, assert_refused, assert_traces


def case(width, dtype=torch.float32, queries=7):
    torch.manual_seed(width)
    embeddings = torch.nn.functional.normalize(torch.randn(queries, width), dim=1).to(dtype)
    return embeddings, torch.randint(0, 4, (queries,)), torch.randn(4, width) * 30, torch.tensor([900, 0, 1, 7])


@pytest.mark.parametrize("queries", [7, 2500])
@pytest.mark.parametrize("width", WIDTHS[:-1])
@DTYPES
def test_dissimilarity_matches_reference(dtype, width, queries):
    args = case(width, dtype, queries)
    got = dissimilarity_from_sums(*args)
    assert got.dtype == torch.float32
    truth, plain = (
        dissimilarity_from_sums_reference(*args),
        dissimilarity_from_sums_reference(*args, dtype=torch.float32),
    )
    assert_as_accurate_as_torch(got, truth, plain)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float64], ids=str
)
def test_dissimilarity_takes_sums_and_counts_of_any_dtype(dtype):
    sums = torch.tensor([[100, 3], [7, 0], [1, 1]], dtype=dtype)
    embeddings = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    got = dissimilarity_from_sums(embeddings, torch.tensor([0, 2, 1]), sums, torch.tensor([200, 0, 4], dtype=dtype))
    assert got.tolist() == pytest.approx([0.5, 1 - 1.4 / 4, 1.0])


def test_dissimilarity_is_exact_for_integer_sums_past_float32():
    sums = torch.tensor([[2**24 + 1, -(2**24)]])
    assert dissimilarity_from_sums(torch.ones(1, 2), torch.tensor([0]), sums, torch.tensor([1])).item() == 0.0


def test_dissimilarity_of_stored_integers_is_the_same_number_in_numpy_and_torch():
    rng = np.random.default_rng(0)
    embeddings, sums = rng.integers(-127, 128, (50, 64)), rng.integers(-(2**20), 2**20, (50, 64))
    stored = rng.integers(0, 3, 50) * 1032.256
    got = distance_to_sum(embeddings, sums, stored)
    assert got.tolist() == distance_to_sum(*map(torch.from_numpy, (embeddings, sums, stored))).tolist()
    slow = [
        1 - sum(int(x) * int(y) for x, y in zip(*pair, strict=True)) / count if count else 1.0
        for *pair, count in zip(embeddings, sums, stored.tolist(), strict=True)
    ]
    assert got.tolist() == slow
    assert distance(np.array([5, 0]), 0).tolist() == [1.0, 1.0]


def test_dissimilarity_of_nothing():
    embeddings, domains, sums, counts = case(8)
    assert dissimilarity_from_sums(embeddings[:0], domains[:0], sums, counts).shape == (0,)
    assert dissimilarity_from_sums(embeddings[:0], domains[:0], sums[:0], counts[:0]).shape == (0,)


def test_dissimilarity_takes_any_strides():
    embeddings, domains, sums, counts = case(8)
    got = dissimilarity_from_sums(
        embeddings.T.contiguous().T, domains, sums.T.contiguous().T, counts.repeat_interleave(2)[::2]
    )
    assert torch.equal(got, dissimilarity_from_sums(embeddings, domains, sums, counts))


E_, D_, S_, C_ = torch.ones(3, 2), torch.tensor([0, 1, 1]), torch.ones(2, 2), torch.tensor([1, 2])


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ((None, D_, S_, C_), "embeddings is a NoneType"),
        ((E_.long(), D_, S_, C_), "embeddings is torch.int64"),
        ((E_, D_.float(), S_, C_), "domains is torch.float32"),
        ((E_, D_[:1], S_, C_), "domains holds 1 values where 3"),
        ((E_, D_ - 1, S_, C_), "domain -1 is no row of sums, which has 2"),
        ((E_, D_ + 1, S_, C_), "domain 2 is no row of sums, which has 2"),
        ((E_, D_, S_.bool(), C_), "sums is torch.bool"),
        ((E_, D_, S_[0], C_), r"sums is torch.float32 \[2\]; pass a 2-dimensional float or integer tensor"),
        ((E_, D_, torch.ones(2, 3), C_), "sums has 3 features where 2"),
        ((E_, D_, S_, C_[:1]), "counts holds 1 values where 2"),
        ((E_, D_, S_, C_.bool()), "counts is torch.bool"),
        ((E_, D_, S_, C_ - 2), "counts holds -1"),
        ((E_, D_, S_.to("meta"), C_), "sums is on meta"),
    ],
)
def test_dissimilarity_refuses_bad_arguments(args, match):
    assert_refused(dissimilarity_from_sums, match, *args)


def test_dissimilarity_traces():
    assert_traces(dissimilarity_from_sums, *case(16))
