"""The windowed kernel of each backend: C++, CUDA, Triton.

`score_tokens` is its whole, the other two ops are its halves.
"""

from torch import Tensor

from edgepers.ops.windowed.native_kernel import score_cpp, score_cuda


def windowed_on(
    backend: str,
    op: str,
    hidden: Tensor,
    offsets: Tensor,
    center: Tensor | None,
    *,
    entropy: bool = True,
    embedding: bool = True,
) -> tuple[Tensor, Tensor]:
    """Entropies [B] and embeddings [B, d] float32 by the kernel of `backend`; what is not asked for comes empty."""
    if backend == "cpp":
        return score_cpp(op, hidden, offsets, center, entropy=entropy, embedding=embedding)
    if backend == "cuda":
        return score_cuda(op, hidden, offsets, center, entropy=entropy, embedding=embedding)
    from edgepers.ops.windowed.triton_kernel import score_triton  # triton is optional

    return score_triton(op, hidden, offsets, center, entropy=entropy, embedding=embedding)
