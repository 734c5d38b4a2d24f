"""Contract of `score_tokens`."""

import torch
from torch import Tensor

from edgepers.ops.checks import check_offsets, check_ragged
from edgepers.ops.embedding_entropy.torch_kernel import entropy_torch, windowed_from_grams
from edgepers.ops.mean_unit_embedding.torch_kernel import embedding_torch, unit_from_sums
from edgepers.ops.windows import cut_windows, full_precision, window_pass

_OP = "score_tokens"
torch.library.define("edgepers::score_tokens", "(Tensor hidden, Tensor offsets, str kind, Tensor? center) -> (Tensor, Tensor)")


@torch.library.register_fake("edgepers::score_tokens")  # type: ignore[untyped-decorator]
def _(hidden: Tensor, offsets: Tensor, kind: str, center: Tensor | None) -> tuple[Tensor, Tensor]:
    sets = offsets.shape[0] - 1
    return hidden.new_empty(sets, dtype=torch.float32), hidden.new_empty((sets, hidden.shape[1]), dtype=torch.float32)


@torch.library.impl("edgepers::score_tokens", "default")
@full_precision
def _score_tokens_torch(hidden: Tensor, offsets: Tensor, kind: str, center: Tensor | None) -> tuple[Tensor, Tensor]:
    ends = check_offsets(_OP, hidden, offsets)
    if kind != "windowed":
        return entropy_torch(hidden, offsets, ends, kind, center), embedding_torch(hidden, offsets, center)
    windows = cut_windows(hidden, offsets, center)
    gram, sums = window_pass(hidden, windows, center, grams=True, sums=True)
    assert gram is not None
    assert sums is not None
    return windowed_from_grams(gram, hidden, windows, center), unit_from_sums(sums, hidden, windows, center)


@torch.no_grad()
def score_tokens(hidden: Tensor, offsets: Tensor, kind: str = "windowed", center: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Entropy and embedding of each set, as `embedding_entropy` and `mean_unit_embedding` define them.

    The windowed kind reads each hidden state once for both.

    Args:
        hidden: [N, d] float32, float16 or bfloat16; any device and strides.
        offsets: [B + 1] int32 or int64, any device: set b is rows offsets[b] to offsets[b + 1], at least one. B may be 0.
        kind: windowed, collision, spectral, token or histogram.
        center: [d] of the same dtypes on hidden's device, subtracted for both results; or None. Refused by histogram.

    Returns:
        Entropies [B] and embeddings [B, d], float32 on hidden's device. Not differentiable.

    Raises:
        ShapeError: an argument of the wrong type, rank, dtype, device or content.
    """
    check_ragged(_OP, hidden, offsets, center, kind)
    result: tuple[Tensor, Tensor] = torch.ops.edgepers.score_tokens(hidden.contiguous(), offsets.to("cpu", torch.int64), kind, center)
    return result
