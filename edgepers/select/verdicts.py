"""Take the owner's verdicts on kept sets: what it takes is the buffer alone, no model and no score."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, islice

from edgepers.errors import UsageError
from edgepers.state.buffer import Buffer
from edgepers.state.records import KeptSet, pack_record

__all__ = ["Verdicts", "judged"]


class Verdicts:
    """Notes who was asked about and what was answered, and makes room for the answers.

    Nothing here opens more than the one record that it is about.

    Args:
        buffer: open for writing.
    """

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer

    def annotate(self, position: int, reference: str | None, round_number: int, *, bad: bool = False) -> str:
        """Take the owner's verdict on a kept set, in place of an earlier one.

        Args:
            position: of the set.
            reference: what it should have said; None: "fine as it is", or with `bad` "wrong", and no more than that.
            round_number: that asked.
            bad: see `reference`.

        Returns:
            "" where taken, else why not: "too_big" or "no_room"; it counts as revealed all the same.

        Raises:
            UsageError: the reference is empty.
        """
        with self.buffer.lock:
            annotated = judged(self.buffer.get(position), reference, round_number, bad=bad)
            packed = pack_record(annotated)
            progress = self.buffer.progress.verdict_given()
            gone = self._room_for_verdict(packed, [position])
            if isinstance(gone, str):
                self.buffer.save(progress)
                return gone
            self.buffer.replace(annotated, gone, progress, packed)
            self._follow(gone, annotated)
        return ""

    def mark_asked(self, position: int, round_number: int) -> None:
        """Remember that the owner was asked about a kept set and has given no verdict that could be kept."""
        with self.buffer.lock:
            if self.buffer.mark_asked(position, round_number):
                return
            asked = replace(self.buffer.get(position), asked=round_number)
            packed = pack_record(asked)
            gone = self._room_for_verdict(packed, [position])
            if not isinstance(gone, str):
                self.buffer.replace(asked, gone, self.buffer.progress, packed)
                self._follow(gone, asked)

    def take_back(self, before: KeptSet) -> bool:
        """Have a kept set be again what it was before a verdict, or a question, that was a slip.

        Args:
            before: the set as it was.

        Returns:
            False where it has left since, or finds no room.
        """
        with self.buffer.lock:
            if not self.holds(before.position):
                return False
            now = self.buffer.get(before.position)  # what was asked again, or taken back, since stays
            before = replace(before, repeats=now.repeats, doubted=now.doubted or before.doubted)
            packed = pack_record(before)
            gone = self._room_for_verdict(packed, [before.position])
            if isinstance(gone, str):
                return False
            self.buffer.replace(before, gone, self.buffer.progress, packed)
            self._follow(gone, before)
        return True

    def holds(self, position: int) -> bool:
        """Whether a set is in the buffer."""
        return position in self.buffer.marks

    def _room_for_verdict(self, record: bytes, replaced: Sequence[int]) -> list[int] | str:
        """Return positions that must leave besides those it replaces, or why it cannot be kept.

        The oldest that nobody has looked at leave first.
        """
        size = self.buffer.row_bytes(record)
        if size > self.buffer.max_record_bytes:
            return "too_big"
        marks = self.buffer.marks

        def order() -> Iterable[int]:
            return chain(replaced, (position for position in marks.unjudged() if position not in replaced))

        count = self.buffer.room_for(size, order())
        return "no_room" if count is None else list(islice(order(), len(replaced), max(count, len(replaced))))

    def _follow(self, gone: Sequence[int], kept: KeptSet) -> None:
        """Hear what has changed in the buffer: who left, and the set that was judged."""


def judged(kept: KeptSet, reference: str | None, round_number: int, *, bad: bool = False) -> KeptSet:
    """A kept set with its owner's verdict; a reference that says what the response says approves it.

    Args and what is raised: as for `Verdicts.annotate`.
    """
    if reference is not None and not reference.strip():
        raise UsageError(
            f"set {kept.name}: its correction is empty; give the wanted response, or say only that this one is wrong"
        )
    if reference is None:
        return replace(kept, reference=None, verdict="bad" if bad else "good", asked=round_number)
    same = reference.strip() == kept.response.strip()
    return replace(
        kept, reference=None if same else reference, verdict="good" if same else "corrected", asked=round_number
    )
