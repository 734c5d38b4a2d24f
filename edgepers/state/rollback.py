"""Go back to the adapter that was published before."""

from typing import Any

from edgepers.errors import StateError
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State

__all__ = ["roll_back"]


def roll_back(state: State, buffer: Buffer) -> dict[str, Any]:
    """Publish what was published before, the base model at last; needs no model.

    Raises:
        StateError: the base model is published already.
    """
    progress = buffer.progress.copy()
    if not progress.published:
        raise StateError(f"state {state.folder}: no adapter is published, so there is nothing to go back from")
    left = progress.published
    progress.published = progress.earlier.pop() if progress.earlier else ""
    buffer.save(progress)
    state.mirror_published(progress.published)
    return {"withdrawn": left, "published": progress.published or None}
