"""Streams of dialogue sets that a program holds."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice

from edgepers.streams.types import Arrival, Cursor, DialogueSet, OnWarning

__all__ = ["IterableStream"]


class IterableStream:
    """Dialogue sets that the caller holds; iterated afresh for every reading."""

    live = False

    def __init__(self, dialogues: Iterable[DialogueSet], name: str = "iterable") -> None:
        self.name = name
        self._dialogues = dialogues if isinstance(dialogues, (list, tuple)) else list(dialogues)
        self.fingerprint = (
            hashlib.sha256(self._dialogues[0].question.encode()).hexdigest()[:32] if self._dialogues else None
        )

    def read(self, start: Cursor, on_warning: OnWarning) -> Iterator[Arrival]:
        """Yield sets from a cursor on; see `Stream.read`."""
        here = start
        for dialogue in islice(self._dialogues, start.offset, None):
            after = Cursor(here.offset + 1, here.line + 1, here.invalid)
            if dialogue.question.strip() and (dialogue.response is None or dialogue.response.strip()):
                yield Arrival(dialogue, here, after)
            else:
                after = Cursor(after.offset, after.line, after.invalid + 1)
                on_warning(f"{self.name}:{after.line}: 'question' or 'response' is empty")
            here = after

    def reference_at(self, here: Cursor) -> str | None:
        """Look a reference up; see `Stream.reference_at`."""
        return self._dialogues[here.offset].reference
