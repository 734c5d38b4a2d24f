"""Bytes that tensors hold, counted as they come and go: what a computation takes at its peak, found without its memory.

On the meta device tensors have shapes but no bytes, and autograd keeps and drops them as it does elsewhere. So one step
there tells the peak of a real one, whatever the model's family, its checkpointed layers and its losses do.
"""

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

__all__ = ["MemoryTracker"]


class MemoryTracker(TorchDispatchMode):
    """Counts the storages made while it is on.

    Attributes:
        now: bytes of those that still live.
        peak: the most that `now` was.
    """

    def __init__(self, device: str = "meta") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = device
        self._known: dict[int, Any] = {}
        self.now = 0
        self.peak = 0
        self._since = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it made."""
        given = {x.untyped_storage()._cdata for x in tree_iter((args, kwargs)) if isinstance(x, Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if (
                isinstance(tensor, Tensor)
                and tensor.device.type == self._device
                and tensor.untyped_storage()._cdata not in given
            ):
                self._count(tensor)  # else a view, of what may be older than the counting
        return out

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()

        def gone(_: Any, key: int = key, size: int = size) -> None:
            if self._known.pop(key, None) is not None:
                self.now -= size

        self._known[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)
        self._since = max(self._since, self.now)

    def mark(self) -> int:
        """The most that `now` was since the last mark."""
        most, self._since = self._since, self.now
        return most
