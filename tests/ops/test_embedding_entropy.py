import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepers.ops import embedding_entropy
from edgepers.ops.entropy.reference import embedding_entropy_reference
from tests.numerics import assert_as_accurate_as_torch
from tests.ops.ragged import DTYPES, LENGTHS, WIDTHS, assert_refused, assert_traces, bad_ragged, batch, offsets_of

KINDS = ("windowed", "collision", "spectral", "token", "histogram")
BOUNDED = KINDS[:-1]
kinds = pytest.mark.parametrize("kind", KINDS)
bounded = pytest.mark.parametrize("kind", BOUNDED)


def one(rows, kind, center=None):
    return embedding_entropy(rows, offsets_of([len(rows)]), kind, center).item()


@pytest.mark.parametrize("centred", [False, True], ids=["raw", "centred"])
@DTYPES
@kinds
def test_entropy_matches_reference(kind, dtype, centred):
    if kind == "histogram" and centred:
        pytest.skip("refused: see test_entropy_refuses_an_unknown_kind_and_a_center_for_histogram")
    lengths = LENGTHS[:-1] if kind == "spectral" else LENGTHS
    results = []
    for (
        width
    ) in WIDTHS:  # judged together: of one width alone, parallel rows of one feature, plain torch may be exact by luck
        hidden, offsets, center = batch(width, dtype, lengths)
        args = hidden, offsets, kind, center if centred else None
        results.append(
            (
                embedding_entropy(*args),
                embedding_entropy_reference(*args),
                embedding_entropy_reference(*args, dtype=torch.float32),
            )
        )
    got, truth, plain = (torch.cat(values) for values in zip(*results, strict=True))
    assert got.dtype == torch.float32
    assert_as_accurate_as_torch(got, truth, plain)


@pytest.mark.parametrize("n", [2, 3, 16])
def test_collision_of_few_rows_is_right_to_a_rounding_whatever_order_a_product_is_summed_in(n):
    torch.manual_seed(0)
    rows = torch.randn(n, 4096) + 3
    truth = embedding_entropy_reference(rows, offsets_of([n]), "collision").item()
    assert one(rows, "collision") == pytest.approx(truth, rel=torch.finfo(torch.float32).eps, abs=0)


@pytest.mark.parametrize(
    ("kind", "rows", "value"),
    [
        ("windowed", torch.eye(16), 1.0),
        ("windowed", torch.eye(17), 1.0),  # the lone last row weighs nothing
        ("windowed", torch.cat([torch.eye(16), torch.ones(16, 16)]), 0.5),
        ("windowed", torch.cat([torch.eye(16), torch.ones(4, 16)]), 0.8),
        ("windowed", torch.tensor([[1.0, 0.0], [1.0, 1.0]]), -math.log(3 / 4) / math.log(2)),
        ("collision", torch.eye(40), 1.0),
        ("collision", torch.eye(8).repeat(2, 1), math.log(8) / math.log(16)),
        ("spectral", torch.eye(8).repeat(2, 1), math.log(8) / math.log(16)),
        ("spectral", torch.tensor([[3.0, 0.0], [0.0, -1.0]]), 1.0),
        ("token", torch.ones(5, 3), 1.0),
        ("token", torch.tensor([[1.0, 0.0], [0.0, 3.0]]), (0.1 * math.log(10) + 0.9 * math.log(10 / 9)) / math.log(2)),
        ("histogram", torch.arange(100.0).expand(3, 100), math.log2(100) / 2),
        ("histogram", torch.tensor([[0.0, 0.0, 0.0, 7.0]]), 0.25 * 2 + 0.75 * math.log2(4 / 3)),
        ("histogram", torch.full((1, 9), 2.5), 0.0),
    ],
)
def test_entropy_is_as_worked_out_by_hand(kind, rows, value):
    assert one(rows, kind) == pytest.approx(value, abs=1e-6)
    assert embedding_entropy_reference(rows, offsets_of([len(rows)]), kind).item() == pytest.approx(value, abs=1e-12)


@bounded
def test_entropy_of_parallel_rows(kind):
    value = 1.0 if kind == "token" else 0.0
    assert one(torch.ones(20, 64), kind) == pytest.approx(value, abs=1e-6)
    assert one(torch.ones(20, 1), kind) == pytest.approx(value, abs=1e-6)


@bounded
def test_entropy_is_zero_under_two_live_rows(kind):
    rows = torch.zeros(20, 10)
    assert one(rows, kind) == 0.0
    rows[7] = 1
    assert one(rows, kind) == 0.0
    assert one(torch.ones(1, 10), kind) == 0.0
    assert one(torch.ones(20, 10), kind, center=torch.ones(10)) == 0.0


def test_entropy_is_zero_without_a_window_of_two_rows():
    rows = torch.zeros(40, 8)
    rows[[3, 39]] = torch.eye(8)[:2]
    assert one(rows, "windowed") == 1.0  # windows are cut after the zero rows have left
    rows[39] = 0
    assert one(rows, "windowed") == 0.0


@bounded
def test_entropy_ignores_zero_rows_and_rows_equal_to_the_center(kind):
    hidden, _, center = batch(64, lengths=(30,))
    keep = [*range(5), *range(7, 20), *range(22, 30)]
    hidden[[5, 20]] = 0
    hidden[[6, 21]] = center
    assert one(hidden, kind, center) == one(hidden[keep], kind, center)


@bounded
def test_entropy_keeps_rows_that_begin_like_padding_or_center(kind):
    center = torch.ones(64)
    hidden = torch.randn(30, 64)
    hidden[3, :40] = 0
    hidden[4, :40] = 1
    truth = embedding_entropy_reference(hidden, offsets_of([30]), kind, center)
    assert one(hidden, kind, center) == pytest.approx(truth.item(), abs=1e-6)


@bounded
@pytest.mark.parametrize("scale", [1e-44, 1e-25, 1e-18, 1e15, 1e25, 3e38])
def test_entropy_holds_at_any_magnitude_of_float32(kind, scale):
    hidden = torch.rand(40, 33) * 2 - 1
    hidden[:20] *= scale
    for center in (None, -hidden[3]):  # differences overflow at 3e38
        truth = embedding_entropy_reference(hidden, offsets_of([40]), kind, center)
        assert one(hidden, kind, center) == pytest.approx(truth.item(), abs=1e-6)


@kinds
def test_entropy_of_large_float16_and_of_features_of_very_different_size(kind):
    torch.manual_seed(0)
    for hidden in ((torch.randn(64, 512) * 1e4).half(), torch.randn(64, 2048) * torch.logspace(-3, 3, 2048)):
        truth = embedding_entropy_reference(hidden, offsets_of([64]), kind)
        assert one(hidden, kind) == pytest.approx(truth.item(), abs=1e-6)


@kinds
def test_entropy_that_is_not_finite_stays_in_its_set(kind):
    hidden, offsets, _ = batch(16, lengths=(20, 20, 20))
    clean = embedding_entropy(hidden, offsets, kind)
    for value in (math.nan, math.inf):
        hidden[39, 3] = value
        got = embedding_entropy(hidden, offsets, kind)
        assert got.isnan().tolist() == [False, True, False]
        assert torch.equal(got[[0, 2]], clean[[0, 2]])


@kinds
def test_entropy_takes_an_empty_batch_and_rows_without_features(kind):
    got = embedding_entropy(torch.zeros(0, 8), torch.tensor([0]), kind)
    assert got.shape == (0,) and got.dtype == torch.float32
    assert embedding_entropy(torch.zeros(5, 0), torch.tensor([0, 2, 5]), kind).tolist() == [0, 0]


@kinds
def test_entropy_takes_any_strides_offsets_and_autocast(kind):
    hidden, offsets, _ = batch(64)
    want = embedding_entropy(hidden, offsets, kind)
    assert torch.equal(embedding_entropy(hidden.T.contiguous().T, offsets, kind), want)
    assert torch.equal(embedding_entropy(hidden.repeat_interleave(2, 1)[:, ::2], offsets.int(), kind), want)
    assert torch.equal(embedding_entropy(hidden, offsets.repeat_interleave(2)[::2], kind), want)
    assert not embedding_entropy(hidden.requires_grad_(), offsets, kind).requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(embedding_entropy(hidden, offsets, kind), want)


@bad_ragged
def test_entropy_refuses_bad_arguments(hidden, offsets, center, match):
    assert_refused(embedding_entropy, match, hidden, offsets, center=center)


def test_entropy_refuses_an_unknown_kind_and_a_center_for_histogram():
    assert_refused(
        embedding_entropy, "kind is 'best'; use one of windowed", torch.ones(4, 2), torch.tensor([0, 4]), "best"
    )
    assert_refused(embedding_entropy, "kind is None", torch.ones(4, 2), torch.tensor([0, 4]), None)
    assert_refused(
        embedding_entropy, "histogram", torch.ones(4, 2), torch.tensor([0, 4]), "histogram", center=torch.ones(2)
    )


@kinds
def test_entropy_traces(kind):
    hidden, offsets, center = batch(16, lengths=(3, 20))
    assert_traces(embedding_entropy, hidden, offsets, kind, None if kind == "histogram" else center)


lengths_of_sets = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(lengths_of_sets, st.integers(1, 70), st.sampled_from(BOUNDED), st.booleans(), st.integers(0, 2**31))
def test_entropy_is_in_zero_one_and_the_same_alone_as_in_a_batch(lengths, width, kind, centred, seed):
    torch.manual_seed(seed)
    hidden, center = torch.randn(sum(lengths), width), torch.randn(width) if centred else None
    hidden[torch.rand(len(hidden)) < 0.2] = 0
    together = embedding_entropy(hidden, offsets_of(lengths), kind, center)
    assert ((together >= 0) & (together <= 1)).all()
    alone = [one(rows, kind, center) for rows in hidden.split(lengths)]
    assert together.tolist() == pytest.approx(alone, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 40),
    st.integers(1, 70),
    st.sampled_from(["windowed", "collision", "spectral"]),
    st.integers(0, 2**31),
)
def test_entropy_does_not_change_when_rows_are_scaled(rows, width, kind, seed):
    torch.manual_seed(seed)
    hidden = torch.randn(rows, width) + 1
    scaled = hidden * torch.randn(rows, 1).sign() * 10 ** torch.empty(rows, 1).uniform_(-3, 3)
    assert one(scaled, kind) == pytest.approx(one(hidden, kind), abs=2e-6)
