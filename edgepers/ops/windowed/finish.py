"""What windows come to: the entropy of a set from their Gram matrices, its embedding from their sums, in torch."""

import torch
from torch import Tensor

from edgepers.ops.windowed import WINDOW
from edgepers.ops.windowed.windows import TINY, Windows, segment_sum


def entropy_from_grams(gram: Tensor, hidden: Tensor, windows: Windows, center: Tensor | None) -> Tensor:
    """Return [B] float32 entropies from the Gram matrices [W, 16, 16] of the windows.

    Those that left float32's range are computed again in float64.
    """
    squares = gram.diagonal(dim1=1, dim2=2)
    safe = (squares >= TINY) & squares.isfinite() | ~windows.valid  # NaN is not safe
    entropy = _window_entropy(gram.double(), windows.valid)
    for part in (~safe.all(1)).nonzero().squeeze(1).split(WINDOW):
        tile = windows.tile(part, hidden, center, torch.float64)
        entropy[part] = _window_entropy(tile @ tile.mT, windows.valid[part])
    rows = windows.valid.sum(1)
    weight = rows * (rows > 1)
    total = segment_sum(torch.stack([entropy * weight, weight], dim=1), windows.per_set)
    return (total[:, 0] / total[:, 1].clamp_min(1)).clamp(0, 1).float()


def _window_entropy(gram: Tensor, valid: Tensor) -> Tensor:
    # In float64: the roundings of norms and quotients would outweigh those of the products, and 256 numbers a window
    # cost little.
    inverse = torch.where(valid, gram.diagonal(dim1=1, dim2=2).rsqrt(), 0)
    cosines = gram * inverse[:, :, None] * inverse[:, None, :]
    rows = valid.sum(1).double()
    return -(cosines.square().sum((1, 2)) / rows.square()).log() / rows.clamp_min(2).log()


def unit_from_sums(sums: Tensor, hidden: Tensor, windows: Windows, center: Tensor | None) -> Tensor:
    """Return [B, d] float32 unit embeddings from the row sums [W, d] of the windows.

    Those that overflowed float32 are computed again in float64.
    """
    total = segment_sum(sums, windows.per_set)
    if not total.isfinite().all():
        partial = sums.double()
        for part in (~partial.isfinite().all(1)).nonzero().squeeze(1).split(WINDOW):
            partial[part] = windows.tile(part, hidden, center, torch.float64).sum(1)
        total = segment_sum(partial, windows.per_set)
    length = total.norm(dim=1, keepdim=True)
    return torch.where(length == 0, 0, total / length).float()  # NaN stays NaN
