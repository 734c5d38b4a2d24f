"""The one tolerance of all numerical tests: derived from what plain torch reaches, never guessed."""

import torch
from torch import Tensor


def assert_as_accurate_as_torch(got: Tensor, truth: Tensor, plain: Tensor) -> None:
    """Demand finite values and at most twice the error that plain torch makes, plus one rounding to the dtype of `got`.

    Args:
        got: the result under test.
        truth: the same in float64, from an independent and obvious computation.
        plain: the same in plain torch with float32 accumulation.
    """
    assert got.shape == truth.shape == plain.shape, (
        f"shapes differ: {list(got.shape)}, {list(truth.shape)}, {list(plain.shape)}"
    )
    assert truth.dtype == torch.float64, f"truth is {truth.dtype}, not float64"
    assert truth.isfinite().all(), "truth is not finite"
    assert plain.isfinite().all(), "plain torch is not finite: there is nothing to compare with"
    assert got.isfinite().all(), f"{int((~got.isfinite()).sum())} of {got.numel()} values are not finite"
    if not got.numel():
        return
    error = (got.double() - truth).abs().max().item()
    rounding = torch.finfo(got.dtype).eps / 2 * truth.abs().max().item()
    limit = 2 * (plain.double() - truth).abs().max().item() + rounding
    assert error <= limit, f"error {error:.3g} is above {limit:.3g}, twice that of plain torch and a rounding"
