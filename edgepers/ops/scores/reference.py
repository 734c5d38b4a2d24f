"""The meaning of `score_tokens`: slow and obvious."""

import torch
from torch import Tensor

from edgepers.ops.embedding.reference import mean_unit_embedding_reference
from edgepers.ops.entropy.reference import embedding_entropy_reference


def score_tokens_reference(
    hidden: Tensor,
    offsets: Tensor,
    kind: str = "windowed",
    center: Tensor | None = None,
    *,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """Entropies [B] and embeddings [B, d] in `dtype`."""
    entropy = embedding_entropy_reference(hidden, offsets, kind, center, dtype=dtype)
    return entropy, mean_unit_embedding_reference(hidden, offsets, center, dtype=dtype)
