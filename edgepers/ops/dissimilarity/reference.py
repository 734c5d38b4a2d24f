"""The meaning of `in_domain_dissimilarity` and of `dissimilarity_from_sums`: slow and obvious."""

import torch
from torch import Tensor


def dissimilarity_from_sums_reference(
    embeddings: Tensor, domains: Tensor, sums: Tensor, counts: Tensor, *, dtype: torch.dtype = torch.float64
) -> Tensor:
    """[B] `dtype`: float64 is the truth, float32 what plain torch makes of the same formula."""
    values = torch.ones(len(embeddings), dtype=dtype)
    for b, domain in enumerate(domains.tolist()):
        if counts[domain] > 0:
            values[b] = 1 - embeddings[b].to(dtype) @ sums[domain].to(dtype) / counts[domain].to(dtype)
    return values


def in_domain_dissimilarity_reference(
    embeddings: Tensor,
    domains: Tensor,
    buffer_embeddings: Tensor,
    buffer_domains: Tensor,
    *,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """[B] `dtype`: float64 is the truth, float32 what plain torch makes of the same formula."""
    values = torch.ones(len(embeddings), dtype=dtype)
    for b, domain in enumerate(domains.tolist()):
        stored = buffer_embeddings[buffer_domains == domain].to(dtype)
        if len(stored):
            values[b] = (1 - stored @ embeddings[b].to(dtype)).mean()
    return values
