"""Random choices as pure functions of (seed, position).

There is no generator state, so a resumed stream decides as an uninterrupted one.
"""

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["hash_text", "mix", "mix_array"]

_MASK = (1 << 64) - 1


def mix(*values: int) -> int:
    """A well-mixed 64-bit hash of integers (the finalizer of SplitMix64, Steele et al. 2014, chained)."""
    state = 0
    for value in values:
        state = (state + (value & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def mix_array(prefix: tuple[int, ...], last: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """`mix(*prefix, x)` for every x of `last`, int64 [N] -> uint64 [N]."""
    with np.errstate(over="ignore"):
        state = np.uint64(mix(*prefix)) + last.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = state ^ (state >> np.uint64(31))
        return mixed


def hash_text(text: str) -> int:
    """A 64-bit hash of text that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
