"""Distance to the nearest center in plain torch."""

import torch
from torch import Tensor

from edgepers.ops.precision import full_precision

_TILE = 1024  # rows and columns of cosines at a time: 4 MB, whatever B and N are


@full_precision
def nearest_torch(embeddings: Tensor, centers: Tensor) -> Tensor:
    """[B] float32; arguments are checked."""
    nearest = embeddings.new_full((len(embeddings),), -1.0, dtype=torch.float32)
    if not len(centers) or not len(embeddings):
        return 1 - nearest
    rows = embeddings.split(_TILE)
    for row, best in zip(rows, nearest.split(_TILE), strict=True):
        row32 = row.float()
        best.copy_(torch.stack([(row32 @ some.float().T).amax(1) for some in centers.split(_TILE)]).amax(0))
    return 1 - nearest
