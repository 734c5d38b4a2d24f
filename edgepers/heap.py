"""The C library's heap, told not to hoard: large blocks go back to the system when they are freed, and come in huge pages.

Training makes and frees tensors of many sizes. glibc's heap keeps what is freed in pieces, of which later tensors fit few: at
the peak more than half of its memory was such pieces (benchmarks/LOG.md, 2026-11-21). A block that is mapped on its own leaves none.
Mapping costs a page fault for every page touched, 512 times fewer with huge pages.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import Any

__all__ = ["few_pieces", "settle_heap", "trim_heap"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_MAPPED_FROM = 1 << 20  # bytes of a block that is mapped on its own
_MAPPED_IN_TRAINING = 1 << 17  # the same while training, whose blocks vary; answering a word at a time would take half as long again
_TRIMMED_FROM = 32 << 20  # free bytes at the heap's end that go back; the default of 128 KB slows answering by a quarter
_HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # torch aligns tensors of 2 MB and more for them, and asks for them
_ONEDNN = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "96"}  # code that is kept for shapes met: up to 256 KB each, and 1024 without this


def settle_heap() -> None:
    """Do so for the rest of the process; before torch makes its first tensor, or huge pages are not asked for.

    Nothing is done where glibc is not the C library, nor to what the user has set: GLIBC_TUNABLES, MALLOC_*, THP_MEM_ALLOC_ENABLE.
    """
    for name, value in {_HUGE_PAGES: "1", **_ONEDNN}.items():
        os.environ.setdefault(name, value)
    _set(_M_MMAP_THRESHOLD, _MAPPED_FROM)
    _set(_M_TRIM_THRESHOLD, _TRIMMED_FROM)


@contextlib.contextmanager
def few_pieces(*, small: bool) -> Iterator[None]:
    """Let smaller blocks, too, be mapped on their own for a while; not for a small model, which would wait for page faults."""
    trim_heap()
    if not small:
        _set(_M_MMAP_THRESHOLD, _MAPPED_IN_TRAINING)
    try:
        yield
    finally:
        _set(_M_MMAP_THRESHOLD, _MAPPED_FROM)
        trim_heap()


def _set(option: int, value: int) -> None:
    if "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ):
        return
    if (mallopt := _of_glibc("mallopt")) is not None:
        mallopt(option, value)


def trim_heap() -> None:
    """Give back what is free in the heap: between stages, whose blocks differ."""
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def _of_glibc(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):  # another C library, another system
        return None
