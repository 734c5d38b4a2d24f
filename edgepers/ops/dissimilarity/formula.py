"""The formula of in-domain dissimilarity, once: for torch tensors and for the integers that a buffer stores.

No torch here: a selector's index and `edgepers status` compute it without loading any.
"""

from typing import Any

__all__ = ["distance", "distance_to_sum"]


def distance(products: Any, stored: Any) -> Any:
    """Mean cosine distance, 1 - products / stored; 1 where nothing is stored.

    Args:
        products: float64 or integers, the product of each embedding with the sum of those it is compared with: a NumPy
            array or a torch tensor.
        stored: of the same kind and shape, or a number: how many there are in each sum, times the squared length of an
            embedding where that is not 1.
    """
    return 1 - products * (stored > 0) / (stored + (stored == 0))


def distance_to_sum(embeddings: Any, sums: Any, stored: Any) -> Any:
    """`distance` of embeddings [..., d] to sums [..., d], both float64, or integers that 64 bits hold exactly.

    In float32 the sum of thousands of unit rows would be large beside the quotient, and integer sums pass 2**24.
    """
    return distance((embeddings * sums).sum(-1), stored)
