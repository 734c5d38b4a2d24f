"""Layers that compute in another way for a while."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["replaced_forwards"]


@contextmanager
def replaced_forwards(replacements: Iterable[tuple[Any, Callable[..., Any]]]) -> Iterator[int]:
    """Let modules compute by other functions; leaving gives each its own code back.

    The replacement is an attribute of the one module, which hides its class's `forward`: the class, and every other
    module of it, stays as it is. A module that is replaced inside another such block gets that block's function back.

    Args:
        replacements: modules, each with the function that it is to compute by; taken one by one.

    Yields:
        How many modules were replaced.
    """
    before: list[tuple[Any, Any]] = []
    try:
        for module, forward in replacements:
            before.append((module, vars(module).get("forward")))
            module.forward = forward
        yield len(before)
    finally:
        for module, earlier in reversed(before):
            if earlier is None:
                vars(module).pop("forward", None)
            else:
                module.forward = earlier
