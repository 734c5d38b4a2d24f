"""The contract of `score_tokens`: its checks and its registration."""

import torch
from torch import Tensor

from edgepers.ops.checks import check_ragged
from edgepers.ops.dispatch import register
from edgepers.ops.entropy.torch_kernel import entropy_torch
from edgepers.ops.precision import full_precision
from edgepers.ops.scores.torch_kernel import scores_torch
from edgepers.ops.windowed.backends import windowed_on

_OP = "score_tokens"
torch.library.define(
    "edgepers::score_tokens", "(Tensor hidden, Tensor offsets, str kind, Tensor? center) -> (Tensor, Tensor)"
)


@torch.library.register_fake("edgepers::score_tokens")  # type: ignore[untyped-decorator]
def _(hidden: Tensor, offsets: Tensor, kind: str, center: Tensor | None) -> tuple[Tensor, Tensor]:
    sets = offsets.shape[0] - 1
    return hidden.new_empty(sets, dtype=torch.float32), hidden.new_empty((sets, hidden.shape[1]), dtype=torch.float32)


def _compiled(backend: str, hidden: Tensor, offsets: Tensor, kind: str, center: Tensor | None) -> tuple[Tensor, Tensor]:
    if kind == "windowed":
        return windowed_on(backend, _OP, hidden, offsets, center)
    _, embedding = windowed_on(
        backend, _OP, hidden, offsets, center, entropy=False
    )  # the bits of mean_unit_embedding, whatever the kind
    return full_precision(entropy_torch)(hidden, offsets, offsets.tolist(), kind, center), embedding


register(_OP, scores_torch, _compiled)


@torch.no_grad()
def score_tokens(
    hidden: Tensor, offsets: Tensor, kind: str = "windowed", center: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Entropy and embedding of each set, as `embedding_entropy` and `mean_unit_embedding` define them.

    The windowed kind reads each hidden state once for both.

    Args:
        hidden: [N, d] float32, float16 or bfloat16; any device and strides.
        offsets: [B + 1] int32 or int64, any device: set b is rows offsets[b] to offsets[b + 1], at least one. B may be
            0.
        kind: windowed, collision, spectral, token or histogram.
        center: [d] of the same dtypes on hidden's device, subtracted for both results; or None. Refused by histogram.

    Returns:
        Entropies [B] and embeddings [B, d], float32 on hidden's device. Not differentiable.

    Raises:
        ShapeError: an argument of the wrong type, rank, dtype, device or content.
    """
    check_ragged(_OP, hidden, offsets, center, kind)
    result: tuple[Tensor, Tensor] = torch.ops.edgepers.score_tokens(
        hidden.contiguous(), offsets.to("cpu", torch.int64), kind, center
    )
    return result
