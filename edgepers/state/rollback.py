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
    with buffer.lock:
        left = buffer.progress.published
        if not left:
            raise StateError(f"state {state.folder}: no adapter is published, so there is nothing to go back from")
        buffer.save(buffer.progress.rolled_back())
        state.mirror_published(buffer.progress.published)
        return {"withdrawn": left, "published": buffer.progress.published or None}
