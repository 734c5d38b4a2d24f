"""The meaning of `int8_similarity`: slow and obvious."""

import numpy as np
import numpy.typing as npt


def int8_similarity_reference(embeddings: npt.NDArray[np.int8], others: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    """int64 [B, N], one Python integer after another."""
    products = [
        [sum(int(x) * int(y) for x, y in zip(row, other, strict=True)) for other in others] for row in embeddings
    ]
    return np.array(products, np.int64).reshape(len(embeddings), len(others))
