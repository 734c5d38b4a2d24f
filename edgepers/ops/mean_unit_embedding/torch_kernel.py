"""Mean unit embedding in plain torch."""

import torch
from torch import Tensor

from edgepers.ops.windows import WINDOW, Windows, cut_windows, segment_sum, window_pass


def embedding_torch(hidden: Tensor, offsets: Tensor, center: Tensor | None) -> Tensor:
    """[B, d] float32; arguments are checked."""
    windows = cut_windows(hidden, offsets, center)
    _, sums = window_pass(hidden, windows, center, grams=False, sums=True)
    assert sums is not None
    return unit_from_sums(sums, hidden, windows, center)


def unit_from_sums(sums: Tensor, hidden: Tensor, windows: Windows, center: Tensor | None) -> Tensor:
    """[B, d] float32 from the row sums [W, d] of the windows; those that overflowed float32 are made again in float64."""
    total = segment_sum(sums, windows.per_set)
    if not total.isfinite().all():
        partial = sums.double()
        for part in (~partial.isfinite().all(1)).nonzero().squeeze(1).split(WINDOW):
            partial[part] = windows.tile(part, hidden, center, torch.float64).sum(1)
        total = segment_sum(partial, windows.per_set)
    length = total.norm(dim=1, keepdim=True)
    return torch.where(length == 0, 0, total / length).float()  # NaN stays NaN
