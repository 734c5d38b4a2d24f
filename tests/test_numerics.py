import pytest
import torch

from tests.numerics import assert_as_accurate_as_torch


@pytest.fixture
def squares():
    torch.manual_seed(0)
    x = torch.randn(5, 1000)
    return x, x.double().square().sum(1), x.square().sum(1)


def test_numerics_accepts_another_order_of_summation(squares):
    x, truth, plain = squares
    assert_as_accurate_as_torch(x.flip(1).square().view(5, 10, 100).sum(2).sum(1), truth, plain)


def test_numerics_accepts_a_correctly_rounded_result_when_plain_torch_is_exact():
    truth = torch.tensor([1 / 3], dtype=torch.float64)
    assert_as_accurate_as_torch(truth.float(), truth, truth)


def test_numerics_accepts_an_empty_result():
    assert_as_accurate_as_torch(torch.empty(0), torch.empty(0, dtype=torch.float64), torch.empty(0))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numerics_refuses_one_value_that_is_not_finite(squares, value):
    _, truth, plain = squares
    got = plain.clone()
    got[3] = value
    with pytest.raises(AssertionError, match="1 of 5 values are not finite"):
        assert_as_accurate_as_torch(got, truth, plain)


def test_numerics_refuses_a_wrong_value(squares):
    _, truth, plain = squares
    with pytest.raises(AssertionError, match="twice that of plain torch"):
        assert_as_accurate_as_torch(plain * 1.0001, truth, plain)


def test_numerics_refuses_accumulation_in_bfloat16(squares):
    x, truth, plain = squares
    total = torch.zeros(5, dtype=torch.bfloat16)
    for column in x.square().bfloat16().T:
        total += column
    with pytest.raises(AssertionError, match="twice that of plain torch"):
        assert_as_accurate_as_torch(total.float(), truth, plain)


def test_numerics_refuses_another_shape(squares):
    _, truth, plain = squares
    with pytest.raises(AssertionError, match="shapes differ"):
        assert_as_accurate_as_torch(plain[:1], truth, plain)
