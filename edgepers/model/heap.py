"""The C library's heap, told not to hoard.

Large blocks go back to the system when they are freed, and come in huge pages.

Training makes and frees tensors of many sizes. glibc's heap keeps what is freed in pieces, of which later tensors fit
few: at the peak more than half of its memory was such pieces (benchmarks/LOG.md, 2026-11-21). A block that is mapped on
its own leaves none. Mapping costs a page fault for every page touched, 512 times fewer with huge pages.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import Any

__all__ = ["eager_trim", "malloc_trim", "tune_malloc"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
# Bytes of a block that is mapped on its own, and free bytes at the heap's end that go back: for answering, which makes
# and frees the same blocks for every word (mapped from 1 MB on, it takes twice as long), and while blocks of many sizes
# come and go.
_ANSWERING = (32 << 20, 128 << 20)
_FEW_PIECES = (1 << 20, 32 << 20)
_FEWER_PIECES = (1 << 17, 32 << 20)
_HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # torch aligns tensors of 2 MB and more for them, and asks for them
_ONEDNN = {
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "96"
}  # code that is kept for shapes met: up to 256 KB each, and 1024 without this


def tune_malloc() -> None:
    """Do so for the rest of the process; before torch makes its first tensor, or huge pages are not asked for.

    Nothing is done where glibc is not the C library, nor to what the user has set: GLIBC_TUNABLES, MALLOC_*,
    THP_MEM_ALLOC_ENABLE.
    """
    for name, value in {_HUGE_PAGES: "1", **_ONEDNN}.items():
        os.environ.setdefault(name, value)
    _set(_ANSWERING)


@contextlib.contextmanager
def eager_trim(*, small: bool) -> Iterator[None]:
    """Let blocks from 1 MB on be mapped on their own for a while: to load or train.

    From 128 KB on, where the model is not `small`.

    A small one, in float32, would spend more time on page faults than on its products.
    """
    malloc_trim()
    _set(_FEW_PIECES if small else _FEWER_PIECES)
    try:
        yield
    finally:
        _set(_ANSWERING)
        malloc_trim()


def _set(bytes_from: tuple[int, int]) -> None:
    """Thresholds of mapping and of trimming."""
    if "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ):
        return
    if (mallopt := _of_glibc("mallopt")) is not None:
        mallopt(_M_MMAP_THRESHOLD, bytes_from[0])
        mallopt(_M_TRIM_THRESHOLD, bytes_from[1])


def malloc_trim() -> None:
    """Give back what is free in the heap: between stages, whose blocks differ."""
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def _of_glibc(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):  # another C library, another system
        return None
