"""The C library's heap, told not to hoard: large blocks go back to the system when they are freed, and come in huge pages.

Training makes and frees tensors of many sizes. glibc's heap keeps what is freed in pieces, of which later tensors fit few: at
the peak more than half of its memory was such pieces (benchmarks/LOG.md, 2026-11-21). A block that is mapped on its own leaves none.
Mapping costs a page fault for every page touched, 512 times fewer with huge pages.
"""

import ctypes
import os
from typing import Any

__all__ = ["settle_heap", "trim_heap"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_MAPPED_FROM = 1 << 20  # bytes of a block that is mapped on its own
_TRIMMED_FROM = 32 << 20  # free bytes at the heap's end that go back; the default of 128 KB slows answering by a quarter
_HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # torch aligns tensors of 2 MB and more for them, and asks for them


def settle_heap() -> None:
    """Do so for the rest of the process; before torch makes its first tensor, or huge pages are not asked for.

    Nothing is done where glibc is not the C library, nor to what the user has set: GLIBC_TUNABLES, MALLOC_*, THP_MEM_ALLOC_ENABLE.
    """
    os.environ.setdefault(_HUGE_PAGES, "1")
    if "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ):
        return
    if (mallopt := _of_glibc("mallopt")) is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)
        mallopt(_M_TRIM_THRESHOLD, _TRIMMED_FROM)


def trim_heap() -> None:
    """Give back what is free in the heap: between stages, whose blocks differ."""
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def _of_glibc(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):  # another C library, another system
        return None
