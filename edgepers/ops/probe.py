"""Find out what really runs.

Every op is launched on a small batch, and its result compared with the reference, before it is named.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgepers.errors import EdgepersError, first_line
from edgepers.ops.dispatch import backend_of
from edgepers.ops.dissimilarity.from_sums import dissimilarity_from_sums
from edgepers.ops.dissimilarity.in_domain import in_domain_dissimilarity
from edgepers.ops.dissimilarity.reference import dissimilarity_from_sums_reference, in_domain_dissimilarity_reference
from edgepers.ops.embedding.op import mean_unit_embedding
from edgepers.ops.embedding.reference import mean_unit_embedding_reference
from edgepers.ops.entropy.op import embedding_entropy
from edgepers.ops.entropy.reference import embedding_entropy_reference
from edgepers.ops.nearest.op import nearest_distance
from edgepers.ops.nearest.reference import nearest_distance_reference
from edgepers.ops.scores.op import score_tokens
from edgepers.ops.scores.reference import score_tokens_reference
from edgepers.ops.similarity.op import int8_similarity, similarity_backend
from edgepers.ops.similarity.reference import int8_similarity_reference

_SLACK = 1e-5  # a wrong kernel is off by far more, a right one on these few numbers by far less


def _batches(device: str) -> dict[Callable[..., Any], tuple[Callable[..., Any], tuple[Any, ...]]]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(40, 80, generator=generator)
    unit = torch.nn.functional.normalize(hidden, dim=1)
    ragged = (hidden.to(device), torch.tensor([0, 3, 40]), "windowed", torch.randn(80, generator=generator).to(device))
    few, domains = unit[:6].to(device), torch.tensor([0, 1, 1, 0, 2, 0], device=device)
    stored = (unit * 127).round().to(torch.int8).numpy()
    return {
        embedding_entropy: (embedding_entropy_reference, ragged),
        mean_unit_embedding: (mean_unit_embedding_reference, (ragged[0], ragged[1], ragged[3])),
        score_tokens: (score_tokens_reference, ragged),
        nearest_distance: (nearest_distance_reference, (few, unit[6:].to(device))),
        dissimilarity_from_sums: (
            dissimilarity_from_sums_reference,
            (few, domains, hidden[:3].to(device), torch.tensor([4, 9, 0], device=device)),
        ),
        in_domain_dissimilarity: (in_domain_dissimilarity_reference, (few, domains, few.flip(0), domains)),
        int8_similarity: (int8_similarity_reference, (stored[:6], stored)),
    }


def backends(device: str | None = None) -> dict[str, str]:
    """Name, for every op, the implementation that runs on `device`: "cuda", "triton", "cpp", "torch" or "numpy".

    Each is launched and its result compared with the float64 reference first.

    Args:
        device: "cpu" or "cuda"; the GPU where torch has one by default.

    Raises:
        EdgepersError: a kernel that does not launch, or gives a wrong result.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    names = {}
    for op, (reference, arguments) in _batches(device).items():
        backend = similarity_backend() if op is int8_similarity else backend_of(op.__name__, device)
        try:
            got = op(*arguments)
            error = _distance(
                got, reference(*(value.cpu() if isinstance(value, Tensor) else value for value in arguments))
            )
        except RuntimeError as failure:
            line = first_line(failure)
            raise EdgepersError(
                f"{op.__name__}: the {backend} kernel does not run on {device} ({line}); rebuild csrc/"
            ) from failure
        if not error <= _SLACK:
            raise EdgepersError(
                f"{op.__name__}: the {backend} kernel on {device} is off by {error:.3g}; rebuild csrc/ and report it"
            )
        names[op.__name__] = backend
    return names


def _distance(got: Any, truth: Any) -> float:
    if isinstance(got, Tensor):
        return float((got.cpu().double() - truth).abs().max())
    if isinstance(got, np.ndarray):
        return float(np.abs(got - truth).max())
    return max(_distance(*pair) for pair in zip(got, truth, strict=True))
