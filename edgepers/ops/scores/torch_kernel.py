"""Entropy and embedding together in plain torch."""

from torch import Tensor

from edgepers.ops.checks import check_offsets
from edgepers.ops.embedding.torch_kernel import embedding_torch
from edgepers.ops.entropy.torch_kernel import entropy_torch
from edgepers.ops.precision import full_precision
from edgepers.ops.windowed.finish import entropy_from_grams, unit_from_sums
from edgepers.ops.windowed.windows import cut_windows, window_pass


@full_precision
def scores_torch(hidden: Tensor, offsets: Tensor, kind: str, center: Tensor | None) -> tuple[Tensor, Tensor]:
    """Entropies [B] and embeddings [B, d] float32; offsets are checked here, all else is."""
    ends = check_offsets("score_tokens", hidden, offsets)
    if kind != "windowed":
        return entropy_torch(hidden, offsets, ends, kind, center), embedding_torch(hidden, offsets, center)
    windows = cut_windows(hidden, offsets, center)
    gram, sums = window_pass(hidden, windows, center, grams=True, sums=True)
    assert gram is not None
    assert sums is not None
    return entropy_from_grams(gram, hidden, windows, center), unit_from_sums(sums, hidden, windows, center)
