"""What edgepers asks of a server that answers in its place."""

from pathlib import Path
from typing import Protocol

__all__ = ["Upstream"]


class Upstream(Protocol):
    """A server that can be given an adapter.

    Attributes:
        kind: "ollama" or "llama.cpp".
        serves: the name under which its clients find what is theirs.
    """

    kind: str
    serves: str

    def require_free(self) -> None:
        """Make sure that nothing of somebody else's is replaced, before it is given something for the first time.

        Raises:
            UpstreamError: something is.
        """

    def is_there(self) -> bool:
        """Whether what it was given is there still.

        Raises:
            UpstreamError: it cannot be reached.
        """

    def publish(self, adapter: Path | None) -> None:
        """Have it answer with an adapter (PEFT's folder) from now on; None: as the base model does.

        Raises:
            UpstreamError: it does not.
            ModelError: the adapter, or its base model, cannot be written in GGUF.
        """

    def answer(self, question: str, *, adapter: bool, max_tokens: int) -> str:
        """Its greedy answer, with what it was given or without.

        Raises:
            UpstreamError: there is none.
        """

    def unload(self) -> None:
        """Ask it to give back the memory that its model takes; its next request loads it again.

        Raises:
            UpstreamError: it cannot be reached.
        """

    def close(self) -> None:
        """Close the connections to it."""
