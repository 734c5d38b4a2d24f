"""Resident memory above the interpreter's own, and its peak; GPU memory added (one pool on Jetson)."""

import contextlib
import re
import sys
from pathlib import Path

import psutil

from edgepers.config import format_size
from edgepers.errors import BudgetError

__all__ = ["MemoryMeter", "gpu_bytes"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def _status_bytes(key: str) -> int | None:
    if not _STATUS.exists():
        return None
    match = re.search(rf"^{key}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def gpu_bytes(*, peak: bool) -> int:
    """Bytes that torch has reserved on the GPU, now or at the most; 0 where it uses none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.max_memory_reserved() if peak else torch.cuda.memory_reserved())


class MemoryMeter:
    """Measures from where it is made, or told to `begin`: before the model loads."""

    def __init__(self, budget_bytes: int | None = None) -> None:
        self.budget_bytes = budget_bytes
        self.begin()

    def begin(self) -> None:
        """Measure from what the process holds now."""
        self._own = psutil.Process().memory_info().rss
        self.restart()

    def restart(self) -> None:
        """Begin a new peak. Where the kernel does not allow it, the peak is that of the whole process."""
        self._peak = 0
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5")  # Linux: the high-water mark starts again at the present size
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()

    def now_bytes(self) -> int:
        """Present memory above the interpreter's own."""
        return max(psutil.Process().memory_info().rss - self._own, 0) + gpu_bytes(peak=False)

    def peak_bytes(self) -> int:
        """Highest memory above the interpreter's own since `restart`."""
        resident = _status_bytes("VmHWM") or psutil.Process().memory_info().rss
        self._peak = max(self._peak, resident - self._own + gpu_bytes(peak=True))
        return self._peak

    def add_child(self, peak_bytes: int) -> None:
        """Count a child process at its peak beside what this one has now: while it works, this one waits."""
        self._peak = max(self._peak, self.now_bytes() + peak_bytes)

    def check(self, doing: str) -> None:
        """Stop before the machine does.

        Raises:
            BudgetError: the peak has passed the budget.
        """
        if self.budget_bytes is not None and self.peak_bytes() > self.budget_bytes:
            used, budget = format_size(self.peak_bytes()), format_size(self.budget_bytes)
            raise BudgetError(
                f"{doing} took {used} of memory, over --memory {budget}; raise it, or take a smaller model or --batch"
            )
