"""Scores on hidden states and embeddings: one folder an op, behind torch.library, so that a compiled kernel only adds an implementation."""

from edgepers.ops.dissimilarity_from_sums.op import dissimilarity_from_sums
from edgepers.ops.embedding_entropy.op import embedding_entropy
from edgepers.ops.in_domain_dissimilarity.op import in_domain_dissimilarity
from edgepers.ops.mean_unit_embedding.op import mean_unit_embedding
from edgepers.ops.nearest_distance.op import nearest_distance
from edgepers.ops.probe import backends
from edgepers.ops.score_tokens.op import score_tokens

__all__ = [
    "backends",
    "dissimilarity_from_sums",
    "embedding_entropy",
    "in_domain_dissimilarity",
    "mean_unit_embedding",
    "nearest_distance",
    "score_tokens",
]
