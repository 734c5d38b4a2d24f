"""The contract of `embedding_entropy`: its checks and its registration."""

import torch
from torch import Tensor

from edgepers.ops.checks import check_offsets, check_ragged
from edgepers.ops.dispatch import register
from edgepers.ops.entropy.torch_kernel import entropy_torch
from edgepers.ops.precision import full_precision
from edgepers.ops.windowed.backends import windowed_on

_OP = "embedding_entropy"
torch.library.define(
    "edgepers::embedding_entropy", "(Tensor hidden, Tensor offsets, str kind, Tensor? center) -> Tensor"
)


@torch.library.register_fake("edgepers::embedding_entropy")  # type: ignore[untyped-decorator]
def _(hidden: Tensor, offsets: Tensor, kind: str, center: Tensor | None) -> Tensor:
    return hidden.new_empty(offsets.shape[0] - 1, dtype=torch.float32)


@full_precision
def _torch(hidden: Tensor, offsets: Tensor, kind: str, center: Tensor | None) -> Tensor:
    return entropy_torch(hidden, offsets, check_offsets(_OP, hidden, offsets), kind, center)


def _compiled(backend: str, hidden: Tensor, offsets: Tensor, kind: str, center: Tensor | None) -> Tensor:
    if kind != "windowed":
        return _torch(hidden, offsets, kind, center)
    return windowed_on(backend, _OP, hidden, offsets, center, embedding=False)[0]


register(_OP, _torch, _compiled)


@torch.no_grad()
def embedding_entropy(hidden: Tensor, offsets: Tensor, kind: str = "windowed", center: Tensor | None = None) -> Tensor:
    """Entropy of embedding (EOE) of each set of a ragged batch.

    Rows of zeros (padding), and rows equal to `center`, leave the computation and n; under two rows left give 0. h_i
    are the rows left, minus `center`; c_ij the cosine of rows i and j; G = (c_ij) / n.

    - windowed: windows of 16 consecutive rows; −log(Σ c_ij² / m²) / log m for a window of m ≥ 2 rows, averaged with
      weights m; a single last row weighs 0. In [0, 1].
    - collision: −log(Σ G_ij²) / log n. In [0, 1].
    - spectral: −Σ λ log λ / log n over the eigenvalues λ of G. In [0, 1].
    - token: −Σ p_i log p_i / log n with p_i = ‖h_i‖² / Σ ‖h_j‖². In [0, 1].
    - histogram: base-2 entropy of numpy's 100-bin histogram of the last row's d values over their range, divided by
      log2(n + 1); that row and n, all rows of the set, are taken as they are. Not bounded.

    The quantity is Qin et al. (DAC 2024), −Σ p(e_i) log p(e_i) / log n, which leaves p open; histogram follows the
    first author's script.
    Values must be finite: a set that holds NaN or infinity gets NaN where its kind reads them; other sets are not
    touched.

    Args:
        hidden: [N, d] float32, float16 or bfloat16; any device and strides.
        offsets: [B + 1] int32 or int64, any device: set b is rows offsets[b] to offsets[b + 1], at least one. B may be
            0.
        kind: windowed, collision, spectral, token or histogram.
        center: [d] of the same dtypes on hidden's device, or None. Refused by histogram.

    Returns:
        [B] float32 on hidden's device, a share of the most there can be (no unit). Not differentiable.

    Raises:
        ShapeError: an argument of the wrong type, rank, dtype, device or content.
    """
    check_ragged(_OP, hidden, offsets, center, kind)
    entropy: Tensor = torch.ops.edgepers.embedding_entropy(
        hidden.contiguous(), offsets.to("cpu", torch.int64), kind, center
    )
    return entropy
