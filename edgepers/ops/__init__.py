"""Scores on hidden states and embeddings, one folder an op.

Each is behind torch.library, so that a compiled kernel only adds an implementation.

The public names are loaded on first use: `int8_similarity`, which a selector's index needs, costs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepers.ops.dissimilarity.from_sums import dissimilarity_from_sums
    from edgepers.ops.dissimilarity.in_domain import in_domain_dissimilarity
    from edgepers.ops.embedding.op import mean_unit_embedding
    from edgepers.ops.entropy.op import embedding_entropy
    from edgepers.ops.nearest.op import nearest_distance
    from edgepers.ops.probe import backends
    from edgepers.ops.scores.op import score_tokens
    from edgepers.ops.similarity.op import int8_similarity

__all__ = [
    "backends",
    "dissimilarity_from_sums",
    "embedding_entropy",
    "in_domain_dissimilarity",
    "int8_similarity",
    "mean_unit_embedding",
    "nearest_distance",
    "score_tokens",
]

# No folder has the name of a function: importing it would put the folder in the function's place.
_HOMES = {
    "backends": "probe",
    "dissimilarity_from_sums": "dissimilarity.from_sums",
    "embedding_entropy": "entropy.op",
    "in_domain_dissimilarity": "dissimilarity.in_domain",
    "int8_similarity": "similarity.op",
    "mean_unit_embedding": "embedding.op",
    "nearest_distance": "nearest.op",
    "score_tokens": "scores.op",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"edgepers.ops.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'edgepers.ops' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
