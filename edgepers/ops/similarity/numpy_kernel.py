"""Exact products of int8 rows where the compiled kernels are not built."""

import numpy as np
import numpy.typing as npt

_ROWS = 512  # others at a time: their float copy stays in a second-level cache
_EXACT_IN_FLOAT32 = 1024  # features: so many squares of -128 are 2**24, and every sum of fewer is exact


def similarity_numpy(embeddings: npt.NDArray[np.int8], others: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    """int32 [B, N]; arguments are checked. Matrix products of floats are far faster than those of integers."""
    exact = np.float32 if embeddings.shape[1] <= _EXACT_IN_FLOAT32 else np.float64
    rows = embeddings.astype(exact)
    products = np.empty((len(embeddings), len(others)), np.int32)
    for start in range(0, len(others), _ROWS):
        products[:, start : start + _ROWS] = rows @ others[start : start + _ROWS].astype(exact).T
    return products
