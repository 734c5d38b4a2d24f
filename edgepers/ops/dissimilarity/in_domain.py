"""The contract of `in_domain_dissimilarity`: its checks and its registration."""

import torch
from torch import Tensor

from edgepers.ops.checks import check_matrix, check_vector
from edgepers.ops.dissimilarity.torch_kernel import mean_distance

_OP = "in_domain_dissimilarity"
_ROWS = 1024  # buffered embeddings at a time: bounds the float64 copy to 8 MB at 1,024 features
torch.library.define(
    "edgepers::in_domain_dissimilarity",
    "(Tensor embeddings, Tensor domains, Tensor buffer_embeddings, Tensor buffer_domains) -> Tensor",
)


@torch.library.register_fake("edgepers::in_domain_dissimilarity")  # type: ignore[untyped-decorator]
def _(embeddings: Tensor, domains: Tensor, buffer_embeddings: Tensor, buffer_domains: Tensor) -> Tensor:
    return embeddings.new_empty(embeddings.shape[0], dtype=torch.float32)


@torch.library.impl("edgepers::in_domain_dissimilarity", "default")
def _in_domain_dissimilarity_torch(
    embeddings: Tensor, domains: Tensor, buffer_embeddings: Tensor, buffer_domains: Tensor
) -> Tensor:
    if not len(buffer_embeddings):
        return embeddings.new_ones(len(embeddings), dtype=torch.float32)
    known, row, counts = torch.unique(buffer_domains, return_inverse=True, return_counts=True)
    sums = embeddings.new_zeros((len(known), embeddings.shape[1]), dtype=torch.float64)
    for some, its_row in zip(buffer_embeddings.split(_ROWS), row.split(_ROWS), strict=True):
        sums.index_add_(0, its_row, some.double())
    position = torch.searchsorted(known, domains).clamp_max(len(known) - 1)
    stored = torch.where(known[position] == domains, counts[position], 0)
    return mean_distance(embeddings, position, sums, stored)


@torch.no_grad()
def in_domain_dissimilarity(
    embeddings: Tensor, domains: Tensor, buffer_embeddings: Tensor, buffer_domains: Tensor
) -> Tensor:
    """Return the in-domain dissimilarity (IDD): the mean of 1 − E·E_i over the same domain; 1.0 where it is empty.

    Qin et al. (DAC 2024), taking the cosine of unit rows. −1 ("general") is a domain like any other. A stored set that
    is scored again must be left out of the buffer arguments by the caller.

    Args:
        embeddings: [B, d] float32, float16 or bfloat16, rows of length 1 or 0, not renormalised; any device. B may be
            0.
        domains: [B] int64 on the same device, any values.
        buffer_embeddings: [R, d] like `embeddings`. R may be 0.
        buffer_domains: [R] int64 on the same device.

    Returns:
        [B] float32 on the same device, cosine distance (0 same, 1 unrelated, 2 opposite), not clamped. Not
        differentiable.

    Raises:
        ShapeError: an argument of the wrong type, rank, dtype, device or size.
    """
    check_matrix(_OP, "embeddings", embeddings)
    check_vector(_OP, "domains", domains, len(embeddings), (torch.int64,), like=embeddings)
    check_matrix(_OP, "buffer_embeddings", buffer_embeddings, embeddings.shape[1], like=embeddings)
    check_vector(_OP, "buffer_domains", buffer_domains, len(buffer_embeddings), (torch.int64,), like=embeddings)
    distance: Tensor = torch.ops.edgepers.in_domain_dissimilarity(
        embeddings.contiguous(), domains.contiguous(), buffer_embeddings.contiguous(), buffer_domains.contiguous()
    )
    return distance
