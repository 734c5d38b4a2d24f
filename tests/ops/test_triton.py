"""The Triton kernels under Triton's interpreter, on the CPU.

Their place on a GPU is tested by tests/ops/test_gpu.py.
"""

import math
from itertools import product

import pytest
import torch

from edgepers.errors import ShapeError
from edgepers.ops.scores.reference import score_tokens_reference
from tests.numerics import assert_as_accurate_as_torch
from tests.ops.ragged import BAD_RAGGED, DTYPES, batch, offsets_of

pytest.importorskip("triton")
if torch.cuda.is_available():
    pytest.skip("Triton compiles for the GPU here: see tests/ops/test_gpu.py", allow_module_level=True)

from edgepers.ops.windowed.triton_kernel import score_triton


@DTYPES
def test_scores_match_reference(dtype):
    results = []
    centers = (
        (True,) if dtype == torch.bfloat16 else (False, True)
    )  # the interpreter multiplies bfloat16 as the integers it stores them in
    for width, centred in product((1, 63, 256), centers):
        hidden, offsets, center = batch(width, dtype, lengths=(1, 2, 15, 17, 33))
        args = hidden, offsets, center if centred else None
        reference = [
            score_tokens_reference(hidden, offsets, "windowed", args[2], dtype=d)
            for d in (torch.float64, torch.float32)
        ]
        got = score_triton("score_tokens", *args)
        results.append([torch.cat([e, u.flatten()]) for e, u in (got, *reference)])
    assert_as_accurate_as_torch(*(torch.cat(values) for values in zip(*results, strict=True)))


@pytest.mark.filterwarnings("ignore:overflow encountered")  # that is the point
def test_scores_of_rows_outside_float32_range_and_of_broken_ones():
    torch.manual_seed(0)
    hidden = torch.randn(60, 33)
    hidden[:20] *= 1e25
    hidden[30, 3] = math.nan
    entropy, embedding = score_triton("score_tokens", hidden, offsets_of([20, 20, 20]), None)
    truth = score_tokens_reference(hidden[:20], offsets_of([20]))
    assert entropy[0].item() == pytest.approx(truth[0].item(), abs=1e-6)
    assert entropy.isnan().tolist() == embedding.isnan().all(1).tolist() == [False, True, False]


def test_scores_halves_and_nothing():
    hidden, offsets, center = batch(40, lengths=(20, 5))
    entropy, embedding = score_triton("score_tokens", hidden, offsets, center)
    only, nothing = score_triton("score_tokens", hidden, offsets, center, embedding=False)
    assert torch.equal(only, entropy) and nothing.numel() == 0
    nothing, only = score_triton("score_tokens", hidden, offsets, center, entropy=False)
    assert torch.equal(only, embedding) and nothing.numel() == 0
    assert score_triton("score_tokens", torch.zeros(0, 8), torch.tensor([0]), None)[1].shape == (0, 8)


@pytest.mark.parametrize(
    "case",
    [name for name in BAD_RAGGED if name.startswith(("offsets start", "offsets end", "offsets fall", "offsets rep"))],
)
def test_scores_check_offsets(case):
    hidden, offsets, _, match = BAD_RAGGED[case]
    with pytest.raises(ShapeError, match=match):
        score_triton("score_tokens", hidden, offsets, None)
