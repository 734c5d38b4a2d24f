"""The contract of `dissimilarity_from_sums`: its checks and its registration."""

import torch
from torch import Tensor

from edgepers.errors import ShapeError
from edgepers.ops.checks import NUMBERS, check_matrix, check_vector
from edgepers.ops.dissimilarity.torch_kernel import mean_distance

_OP = "dissimilarity_from_sums"
torch.library.define(
    "edgepers::dissimilarity_from_sums", "(Tensor embeddings, Tensor domains, Tensor sums, Tensor counts) -> Tensor"
)


@torch.library.register_fake("edgepers::dissimilarity_from_sums")  # type: ignore[untyped-decorator]
def _(embeddings: Tensor, domains: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
    return embeddings.new_empty(embeddings.shape[0], dtype=torch.float32)


@torch.library.impl("edgepers::dissimilarity_from_sums", "default")
def _dissimilarity_torch(embeddings: Tensor, domains: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
    _check_values(domains, sums, counts)
    return mean_distance(embeddings, domains, sums, counts[domains])


def _check_values(domains: Tensor, sums: Tensor, counts: Tensor) -> None:
    outside = domains[(domains < 0) | (domains >= len(sums))]
    if len(outside):
        raise ShapeError(
            f"{_OP}: domain {int(outside[0])} is no row of sums, which has {len(sums)}; map domains to rows first"
        )
    if (counts < 0).any():
        raise ShapeError(
            f"{_OP}: counts holds {counts.min().item()}; pass the number of embeddings in each sum, 0 or more"
        )


@torch.no_grad()
def dissimilarity_from_sums(embeddings: Tensor, domains: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
    """Return the in-domain dissimilarity (IDD) from per-domain sums: 1 − E·S_k / R_k; 1.0 where R_k = 0.

    Equals the mean of 1 − cos(E, E_i) over the R_k embeddings in the sum S_k, as they are unit rows: O(d) instead of
    O(R_k d).

    Args:
        embeddings: [B, d] float32, float16 or bfloat16, rows of length 1 or 0, not renormalised; any device. B may be
            0.
        domains: [B] int64, each a row of `sums`.
        sums: [m, d] of any float or integer dtype, Σ E_i of each domain.
        counts: [m] of any float or integer dtype, embeddings in each sum.

    Returns:
        [B] float32 on the same device, cosine distance (0 same, 1 unrelated, 2 opposite), not clamped. Not
        differentiable.

    Raises:
        ShapeError: an argument of the wrong type, rank, dtype or device, a domain that is no row of `sums`, or a
            negative count.
    """
    check_matrix(_OP, "embeddings", embeddings)
    check_vector(_OP, "domains", domains, len(embeddings), (torch.int64,), like=embeddings)
    check_matrix(_OP, "sums", sums, embeddings.shape[1], like=embeddings, dtypes=NUMBERS)
    check_vector(_OP, "counts", counts, len(sums), NUMBERS, like=embeddings)
    distance: Tensor = torch.ops.edgepers.dissimilarity_from_sums(
        embeddings.contiguous(), domains.contiguous(), sums.contiguous(), counts.contiguous()
    )
    return distance
