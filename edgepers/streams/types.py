"""The dialogue set, where reading goes on, and what the chain needs of a stream."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["Arrival", "Cursor", "DialogueSet", "OnWarning", "Stream"]


@dataclass(frozen=True, slots=True)
class DialogueSet:
    """One user turn and the assistant's turn: what is scored, kept and trained on.

    `response` is None where the published model is to answer; `reference` is what the owner would have wanted, known
    only from an annotation or from a data set. `verdict` is what the source says of the response: "good", "bad" (wrong;
    it is never learned), or "" where it says nothing; `doubted` is whether what the person said next takes it back.
    Earlier turns of a conversation stand at the head of `question`.
    """

    question: str
    response: str | None = None
    reference: str | None = None
    id: str | None = None
    verdict: str = ""
    doubted: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where reading a stream goes on.

    `offset` in bytes (files) or items (iterables, data sets), lines and invalid lines before it, and `turn`: the sets
    of the conversation that begins there which are already read.
    """

    offset: int = 0
    line: int = 0
    invalid: int = 0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A valid dialogue set as it arrived: `here` is the cursor that reads it again, `after` the one that follows it."""

    dialogue: DialogueSet
    here: Cursor
    after: Cursor


OnWarning = Callable[[str], None]


@runtime_checkable
class Stream(Protocol):
    """What the chain needs of a stream; `live` where sets are to be decided one by one as they come."""

    name: str
    fingerprint: str | None
    live: bool

    def read(self, start: Cursor, on_warning: OnWarning) -> Iterator[Arrival]:
        """Yield valid sets from `start` on.

        `on_warning` gets one line for each malformed record, which the cursors count.
        """

    def reference_at(self, here: Cursor) -> str | None:
        """The reference of the set at `here`: what gold annotation reveals."""
