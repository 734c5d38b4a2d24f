"""Gradient checkpointing, block by block: activations are computed again for the backward pass."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.checkpoint import checkpoint

__all__ = ["blocks_of", "recomputed_blocks"]


def blocks_of(model: Any) -> list[Any]:
    """A model's blocks that transformers can compute again, in order."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


@contextmanager
def recomputed_blocks(model: Any, count: int) -> Iterator[None]:
    """Let the `count` uppermost blocks keep their input alone.

    Chen et al. 2016, "Training deep nets with sublinear memory cost".
    """
    chosen = blocks_of(model)[-count:] if count else []
    try:
        for block in chosen:
            block.gradient_checkpointing = True
            block._gradient_checkpointing_func = functools.partial(checkpoint, use_reentrant=False)
        yield
    finally:
        for block in chosen:
            vars(block).pop("gradient_checkpointing", None)
