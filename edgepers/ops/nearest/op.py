"""The contract of `nearest_distance`: its checks and its registration."""

import torch
from torch import Tensor

from edgepers.ops.checks import check_matrix
from edgepers.ops.nearest.torch_kernel import nearest_torch

_OP = "nearest_distance"
torch.library.define("edgepers::nearest_distance", "(Tensor embeddings, Tensor centers) -> Tensor")


@torch.library.register_fake("edgepers::nearest_distance")  # type: ignore[untyped-decorator]
def _(embeddings: Tensor, centers: Tensor) -> Tensor:
    return embeddings.new_empty(embeddings.shape[0], dtype=torch.float32)


torch.library.impl("edgepers::nearest_distance", "default", nearest_torch)


@torch.no_grad()
def nearest_distance(embeddings: Tensor, centers: Tensor) -> Tensor:
    """Cosine distance to the nearest center: 1 − max_j E·C_j; 2.0, the largest there is, without centers.

    The distance of k-center selection (Sener and Savarese, ICLR 2018). The [B, N] cosines are never stored whole.

    Args:
        embeddings: [B, d] float32, float16 or bfloat16, rows of length 1 or 0, not renormalised; any device. B may be
            0.
        centers: [N, d] likewise, on the same device. N may be 0.

    Returns:
        [B] float32 on the same device (0 same, 1 unrelated, 2 opposite), not clamped. Not differentiable.

    Raises:
        ShapeError: an argument of the wrong type, rank, dtype, device or width.
    """
    check_matrix(_OP, "embeddings", embeddings)
    check_matrix(_OP, "centers", centers, embeddings.shape[1], like=embeddings)
    distance: Tensor = torch.ops.edgepers.nearest_distance(embeddings.contiguous(), centers.contiguous())
    return distance
