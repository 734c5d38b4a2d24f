import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepers.ops import dissimilarity_from_sums, in_domain_dissimilarity
from edgepers.ops.dissimilarity.reference import in_domain_dissimilarity_reference
from tests.numerics import assert_as_accurate_as_torch
from tests.ops.ragged import DTYPES, WIDTHS, assert_refused, assert_traces


def case(width, dtype=torch.float32, queries=7, stored=50):
    torch.manual_seed(width)
    rows = torch.nn.functional.normalize(torch.randn(queries + stored, width), dim=1).to(dtype)
    return rows[:queries], torch.randint(-1, 6, (queries,)), rows[queries:], torch.randint(-1, 4, (stored,))


@pytest.mark.parametrize("stored", [1, 50, 2500])
@pytest.mark.parametrize("width", WIDTHS[:-1])
@DTYPES
def test_dissimilarity_matches_reference(dtype, width, stored):
    args = case(width, dtype, stored=stored)
    got = in_domain_dissimilarity(*args)
    assert got.dtype == torch.float32
    truth, plain = (
        in_domain_dissimilarity_reference(*args),
        in_domain_dissimilarity_reference(*args, dtype=torch.float32),
    )
    assert_as_accurate_as_torch(got, truth, plain)


def test_dissimilarity_is_as_worked_out_by_hand():
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    got = in_domain_dissimilarity(
        torch.stack([east, east, east, 0 * east]),
        torch.tensor([-1, 3, 9, 3]),
        torch.stack([north, -east, east, east, north]),
        torch.tensor([-1, -1, 3, 3, 3]),
    )
    assert got.tolist() == pytest.approx([3 / 2, 1 / 3, 1.0, 1.0])


def test_dissimilarity_without_any_stored_set_or_question():
    embeddings, domains, stored, stored_domains = case(8)
    assert in_domain_dissimilarity(embeddings, domains, stored[:0], stored_domains[:0]).tolist() == [1.0] * 7
    assert in_domain_dissimilarity(embeddings[:0], domains[:0], stored, stored_domains).shape == (0,)


def test_dissimilarity_takes_any_strides_and_domains():
    embeddings, domains, stored, stored_domains = case(8)
    far = torch.tensor([-(2**63), -7, -1, 0, 5, 2**62, 2**63 - 1])
    want = in_domain_dissimilarity(embeddings, domains, stored, stored_domains)
    got = in_domain_dissimilarity(
        embeddings.T.contiguous().T, far[domains + 1], stored.T.contiguous().T, far[stored_domains + 1]
    )
    assert torch.equal(got, want)


E_, D_ = torch.ones(3, 2), torch.tensor([0, 1, 1])


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (([[1.0]], D_, E_, D_), "embeddings is a list"),
        ((E_.double(), D_, E_, D_), "embeddings is torch.float64"),
        ((E_[0], D_, E_, D_), r"embeddings is torch.float32 \[2\]"),
        ((E_, D_.int(), E_, D_), "domains is torch.int32"),
        ((E_, D_[:2], E_, D_), "domains holds 2 values where 3 are needed"),
        ((E_, D_, E_.long(), D_), "buffer_embeddings is torch.int64"),
        ((E_, D_, torch.ones(3, 4), D_), "buffer_embeddings has 4 features where 2 are needed"),
        ((E_, D_, E_, D_[:1]), "buffer_domains holds 1 values where 3"),
        ((E_, D_, E_, None), "buffer_domains is a NoneType"),
        ((E_, D_, E_.to("meta"), D_), "buffer_embeddings is on meta"),
    ],
)
def test_dissimilarity_refuses_bad_arguments(args, match):
    assert_refused(in_domain_dissimilarity, match, *args)


def test_dissimilarity_traces():
    assert_traces(in_domain_dissimilarity, *case(16))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 20), st.integers(0, 60), st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**31))
def test_dissimilarity_from_sums_equals_the_direct_one(queries, stored, width, many, seed):
    torch.manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(queries + stored, width), dim=1)
    domains = torch.randint(0, many, (queries + stored,))
    sums = torch.zeros(many, width).index_add_(0, domains[queries:], rows[queries:])
    from_sums = dissimilarity_from_sums(
        rows[:queries], domains[:queries], sums, domains[queries:].bincount(minlength=many)
    )
    direct = in_domain_dissimilarity(rows[:queries], domains[:queries], rows[queries:], domains[queries:])
    torch.testing.assert_close(from_sums, direct, rtol=0, atol=1e-6)
    alone = [
        in_domain_dissimilarity(rows[q : q + 1], domains[q : q + 1], rows[queries:], domains[queries:])
        for q in range(queries)
    ]
    torch.testing.assert_close(direct, torch.cat([direct[:0], *alone]), rtol=0, atol=1e-6)
