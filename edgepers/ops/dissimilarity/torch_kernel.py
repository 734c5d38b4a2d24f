"""Compute in-domain dissimilarity of a batch in plain torch."""

import torch
from torch import Tensor

from edgepers.ops.dissimilarity.formula import distance_to_sum

_ROWS = 1024  # embeddings at a time: bounds the float64 copies to 8 MB at 1,024 features


def mean_distance(embeddings: Tensor, rows: Tensor, sums: Tensor, stored: Tensor) -> Tensor:
    """Return [B] float32 mean distances of embeddings [B, d] to the `stored` [B] embeddings in sums[rows].

    Arguments are checked already.
    """
    distances = torch.empty(len(embeddings), dtype=torch.float32, device=embeddings.device)
    for start in range(0, len(embeddings), _ROWS):
        part = slice(start, start + _ROWS)
        distances[part] = distance_to_sum(embeddings[part].double(), sums[rows[part]], stored[part])
    return distances
