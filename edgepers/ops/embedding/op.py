"""The contract of `mean_unit_embedding`: its checks and its registration."""

import torch
from torch import Tensor

from edgepers.ops.checks import check_offsets, check_ragged
from edgepers.ops.dispatch import register
from edgepers.ops.embedding.torch_kernel import embedding_torch
from edgepers.ops.precision import full_precision
from edgepers.ops.windowed.backends import windowed_on

_OP = "mean_unit_embedding"
torch.library.define("edgepers::mean_unit_embedding", "(Tensor hidden, Tensor offsets, Tensor? center) -> Tensor")


@torch.library.register_fake("edgepers::mean_unit_embedding")  # type: ignore[untyped-decorator]
def _(hidden: Tensor, offsets: Tensor, center: Tensor | None) -> Tensor:
    return hidden.new_empty((offsets.shape[0] - 1, hidden.shape[1]), dtype=torch.float32)


@full_precision
def _torch(hidden: Tensor, offsets: Tensor, center: Tensor | None) -> Tensor:
    check_offsets(_OP, hidden, offsets)
    return embedding_torch(hidden, offsets, center)


def _compiled(backend: str, hidden: Tensor, offsets: Tensor, center: Tensor | None) -> Tensor:
    return windowed_on(backend, _OP, hidden, offsets, center, entropy=False)[1]


register(_OP, _torch, _compiled)


@torch.no_grad()
def mean_unit_embedding(hidden: Tensor, offsets: Tensor, center: Tensor | None = None) -> Tensor:
    """Embedding of each set of a ragged batch: e = s / ‖s‖ with s = Σ (h_i − center) over the rows that are not zero.

    The mean of hidden states as the embedding of a dialogue set is Qin et al. (DAC 2024). Values must be finite: a set
    that holds NaN or infinity gets NaN, other sets are not touched.

    Args:
        hidden: [N, d] float32, float16 or bfloat16; any device and strides. Rows of zeros are padding.
        offsets: [B + 1] int32 or int64, any device: set b is rows offsets[b] to offsets[b + 1], at least one. B may be
            0.
        center: [d] of the same dtypes on hidden's device, or None.

    Returns:
        [B, d] float32 on hidden's device, rows of length 1, or of zeros where the mean is zero. Not differentiable.

    Raises:
        ShapeError: an argument of the wrong type, rank, dtype, device or content.
    """
    check_ragged(_OP, hidden, offsets, center)
    embedding: Tensor = torch.ops.edgepers.mean_unit_embedding(
        hidden.contiguous(), offsets.to("cpu", torch.int64), center
    )
    return embedding
