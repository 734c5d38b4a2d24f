"""The five kinds of entropy in plain torch."""

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from edgepers.ops.windowed import WINDOW
from edgepers.ops.windowed.finish import entropy_from_grams
from edgepers.ops.windowed.windows import TINY, centred, cut_windows, live_rows, segment_sum, window_pass

BINS = 100
_ROWS = 512  # rows of token norms at a time: 4 MB of float32 at 2,048 features


def entropy_torch(hidden: Tensor, offsets: Tensor, ends: list[int], kind: str, center: Tensor | None) -> Tensor:
    """[B] float32 entropies of `kind`; arguments are checked, `ends` is `offsets` as a list."""
    if kind == "windowed":
        windows = cut_windows(hidden, offsets, center)
        gram, _ = window_pass(hidden, windows, center, grams=True, sums=False)
        assert gram is not None
        return entropy_from_grams(gram, hidden, windows, center)
    if kind == "token":
        return _token(hidden, offsets, center)
    if kind == "histogram":
        return _histogram(hidden, ends)
    live = live_rows(hidden, center)
    of_unit_rows = _collision if kind == "collision" else _spectral
    values = [of_unit_rows(_unit_rows(hidden[a:b][live[a:b]], center)) for a, b in pairwise(ends)]
    return torch.stack(values).clamp(0, 1).float() if values else hidden.new_empty(0, dtype=torch.float32)


def _unit_rows(rows: Tensor, center: Tensor | None) -> Tensor:
    rows = centred(rows, center, torch.float64)
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return unit


def _gram(unit: Tensor) -> Tensor:
    # Both products have the same eigenvalues but for zeros: form the smaller one.
    return unit @ unit.T if unit.shape[0] <= unit.shape[1] else unit.T @ unit


def _collision(unit: Tensor) -> Tensor:
    n = len(unit)
    if n < 2:
        return unit.new_zeros(())
    # Few rows in float64: roundings of the products do not cancel there, and it costs least. Arm's BLAS sums them in
    # line.
    products = _gram(unit if n <= WINDOW else unit.float())
    return -(products.square().sum(dtype=torch.float64) / n**2).log() / math.log(n)


def _spectral(unit: Tensor) -> Tensor:
    n = len(unit)
    if n < 2:
        return unit.new_zeros(())
    gram = _gram(unit) / n  # float64: 500 eigenvalues that are only rounding noise would add up in float32
    if not gram.isfinite().all():
        return unit.new_full((), math.nan)  # LAPACK refuses it for the whole batch
    shannon: Tensor = torch.special.entr(torch.linalg.eigvalsh(gram).clamp_min(0)).sum()
    return shannon / math.log(n)


def _token(hidden: Tensor, offsets: Tensor, center: Tensor | None) -> Tensor:
    live = live_rows(hidden, center)
    lengths = offsets.to(hidden.device).diff()
    squares = torch.cat([_row_squares(rows, center) for rows in hidden.split(_ROWS)]) * live
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=hidden.device), lengths, output_size=len(hidden))
    total = segment_sum(torch.stack([squares, live], dim=1), lengths)
    shares = torch.where(live, squares / total[owner, 0], 0)
    return (segment_sum(torch.special.entr(shares), lengths) / total[:, 1].clamp_min(2).log()).clamp(0, 1).float()


def _row_squares(rows: Tensor, center: Tensor | None) -> Tensor:
    squares = centred(rows, center).square().sum(1).double()
    unsafe = ~((squares >= TINY) & squares.isfinite())
    if unsafe.any():
        squares[unsafe] = centred(rows[unsafe], center, torch.float64).square().sum(1)
    return squares


def _histogram(hidden: Tensor, ends: list[int]) -> Tensor:
    last = hidden[[end - 1 for end in ends[1:]]].double().cpu().numpy()
    values = []
    for row, n in zip(last, np.diff(ends), strict=True):
        if not np.isfinite(row).all():
            values.append(math.nan)  # numpy refuses it
            continue
        counts, _ = np.histogram(row, bins=BINS)
        shares = counts[counts > 0] / max(len(row), 1)
        values.append(float(-(shares * np.log2(shares)).sum() / np.log2(n + 1)))
    return torch.tensor(values, dtype=torch.float32, device=hidden.device)
