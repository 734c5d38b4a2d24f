"""The contract of `int8_similarity`, in NumPy and without torch.

Stored embeddings lie in host memory, and one decision must not wait for a dispatcher.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from edgepers.errors import ShapeError
from edgepers.ops import native
from edgepers.ops.similarity.numpy_kernel import similarity_numpy

__all__ = ["WIDEST", "int8_similarity", "similarity_backend"]

WIDEST = (1 << 17) - 1  # features: more squares of -128 might not fit into 32 bits


def int8_similarity(embeddings: npt.NDArray[np.int8], others: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    """Dot product of every embedding with every other: exact integers, so the same on every machine and in every batch.

    Embeddings that were multiplied by one scale and rounded have products in units of its square; what is compared
    with each other needs no division.

    Args:
        embeddings: int8 [B, d], any strides. B may be 0, and so may d.
        others: int8 [N, d] likewise.

    Returns:
        int32 [B, N], freshly made.

    Raises:
        ShapeError: an argument of the wrong type, rank, dtype or width.
    """
    _check("embeddings", embeddings)
    _check("others", others)
    if embeddings.shape[1] != others.shape[1]:
        raise ShapeError(
            f"int8_similarity: others has {others.shape[1]} features where {embeddings.shape[1]} are needed; use one"
            " encoder for both"
        )
    embeddings, others = np.ascontiguousarray(embeddings), np.ascontiguousarray(others)
    return _similarity_cpp(embeddings, others) if native.has("cpu") else similarity_numpy(embeddings, others)


def similarity_backend() -> str:
    """Name what runs: "cpp" or "numpy"."""
    return "cpp" if native.has("cpu") else "numpy"


def _similarity_cpp(embeddings: npt.NDArray[np.int8], others: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    products = np.empty((len(embeddings), len(others)), np.int32)
    code = native.call("edgepers_similarity", embeddings, others, *products.shape, embeddings.shape[1], products)
    assert code == native.OK, f"edgepers_similarity returned {code}"
    return products


def _check(name: str, value: Any) -> None:
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype != np.int8:
        seen = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise ShapeError(f"int8_similarity: {name} is {seen}; pass a 2-dimensional int8 NumPy array")
    if value.shape[1] > WIDEST:
        raise ShapeError(
            f"int8_similarity: {name} has {value.shape[1]} features where at most {WIDEST} are exact; project them"
            " first"
        )
