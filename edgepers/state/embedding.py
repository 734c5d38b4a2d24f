"""Embeddings as the buffer stores them: int8 with one fixed scale, projected to 512 where the model is wide.

Sums of them are integers, so adding and removing a set is exactly reversible and reopening a buffer changes nothing.
"""

import functools

import numpy as np
import numpy.typing as npt

from edgepers.hashing import mix_array

__all__ = ["Int8", "quantize", "scale", "stored_width"]

Int8 = npt.NDArray[np.int8]

WIDEST_STORED = 1024
PROJECTED_WIDTH = 512
_PROJECTION_SEED = 20241
# in units of 1/sqrt(width), a unit vector's deviation: a few components lie far out, and beyond this they are clipped
_SIGMAS = 10.0


def stored_width(hidden_size: int) -> int:
    """Bytes of a stored embedding of a model with this many features."""
    return hidden_size if hidden_size <= WIDEST_STORED else PROJECTED_WIDTH


def scale(width: int) -> float:
    """What a unit vector is multiplied by before rounding: the same for every set of a buffer."""
    return float(127.0 * np.sqrt(width) / _SIGMAS) if width > _SIGMAS**2 else 127.0


@functools.lru_cache(maxsize=2)
def _projection(hidden_size: int) -> npt.NDArray[np.float32]:
    """Random signs [hidden_size, 512] / sqrt(512) (Achlioptas 2003): dot products are kept in expectation."""
    bits = mix_array(
        (_PROJECTION_SEED, hidden_size), np.arange(hidden_size * PROJECTED_WIDTH // 64 + 1, dtype=np.int64)
    )
    signs = np.unpackbits(bits.view(np.uint8))[: hidden_size * PROJECTED_WIDTH].astype(np.float32) * 2 - 1
    projection: npt.NDArray[np.float32] = (signs / np.sqrt(PROJECTED_WIDTH, dtype=np.float32)).reshape(
        hidden_size, PROJECTED_WIDTH
    )
    return projection


def quantize(embeddings: npt.NDArray[np.float32]) -> Int8:
    """Unit or zero rows [B, d] -> int8 [B, stored_width(d)]."""
    if embeddings.shape[1] > WIDEST_STORED:
        embeddings = embeddings @ _projection(embeddings.shape[1])
        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        embeddings = np.divide(embeddings, norms, out=np.zeros_like(embeddings), where=norms > 0)
    stored: Int8 = np.clip(np.rint(embeddings * scale(embeddings.shape[1])), -127, 127).astype(np.int8)
    return stored
