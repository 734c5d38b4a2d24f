"""The meaning of `mean_unit_embedding`: slow and obvious."""

from itertools import pairwise

import torch
from torch import Tensor


def mean_unit_embedding_reference(
    hidden: Tensor, offsets: Tensor, center: Tensor | None = None, *, dtype: torch.dtype = torch.float64
) -> Tensor:
    """[B, d] `dtype`: float64 is the truth, float32 what plain torch makes of the same formula."""
    ends = offsets.tolist()
    means = torch.zeros(len(ends) - 1, hidden.shape[1], dtype=dtype)
    for mean, (start, end) in zip(means, pairwise(ends), strict=True):
        rows = hidden[start:end]
        rows = rows[(rows != 0).any(1)].to(dtype)
        if center is not None:
            rows = rows - center.to(dtype)
        if len(rows) and rows.mean(0).norm() > 0:
            mean.copy_(rows.mean(0) / rows.mean(0).norm())
    return means
