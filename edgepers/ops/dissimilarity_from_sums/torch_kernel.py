"""In-domain dissimilarity from sums in plain torch."""

import torch
from torch import Tensor

from edgepers.errors import ShapeError

_ROWS = 1024  # embeddings at a time: bounds the float64 copies to 8 MB at 1,024 features


def dissimilarity_torch(embeddings: Tensor, domains: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
    """[B] float32; shapes are checked, values are not."""
    check_domains(domains, sums, counts)
    return distance_to_sums(embeddings, domains, sums, counts[domains])


def check_domains(domains: Tensor, sums: Tensor, counts: Tensor) -> None:
    """Refuse domains that are no rows of `sums`, and negative counts."""
    outside = domains[(domains < 0) | (domains >= len(sums))]
    if len(outside):
        raise ShapeError(
            f"dissimilarity_from_sums: domain {int(outside[0])} is no row of sums, which has {len(sums)}; map domains"
            " to rows first"
        )
    if (counts < 0).any():
        raise ShapeError(
            f"dissimilarity_from_sums: counts holds {counts.min().item()}; pass the number of embeddings in each sum,"
            " 0 or more"
        )


def distance_to_sums(embeddings: Tensor, rows: Tensor, sums: Tensor, stored: Tensor) -> Tensor:
    """[B] float32: 1 − E·sums[row] / stored, 1.0 where none is stored (rows [B], stored [B]); arguments are checked.

    float64, because a sum of thousands of unit rows and its count are large beside their quotient, and integer sums
    pass 2**24.
    """
    dots = torch.empty(len(embeddings), dtype=torch.float64, device=embeddings.device)
    for start in range(0, len(embeddings), _ROWS):
        part = slice(start, start + _ROWS)
        dots[part] = (embeddings[part].double() * sums[rows[part]]).sum(1)
    return (1 - torch.where(stored > 0, dots / stored, 0)).float()
