"""What is known of each kept set without opening its record: whether it was asked about and judged, and its size."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Mark", "Marks"]


@dataclass(frozen=True, slots=True)
class Mark:
    """The plain columns of one row of the buffer."""

    asked: int  # the round that asked about it, 0 for never
    annotated: bool  # whether its owner has given a verdict; which one is sealed
    stored_bytes: int  # of its row


class Marks:
    """Marks by position, in order of arrival.

    Looking one up, changing one and counting cost the same however many there are.
    """

    def __init__(self, marks: Iterable[tuple[int, Mark]] = ()) -> None:
        self._marks: dict[int, Mark] = {}
        self._asked: Counter[int] = Counter()  # sets by the round that asked
        self._annotated = 0
        for position, mark in marks:
            self.put(position, mark)

    def __len__(self) -> int:
        return len(self._marks)

    def __contains__(self, position: object) -> bool:
        return position in self._marks

    def __getitem__(self, position: int) -> Mark:
        return self._marks[position]

    def __iter__(self) -> Iterator[int]:
        return iter(self._marks)

    def put(self, position: int, mark: Mark) -> None:
        """Set the mark of a set that is there already, or that has come."""
        there = position in self._marks
        if there:
            self._count(self._marks[position], -1)
        late = not there and bool(self._marks) and position < next(reversed(self._marks))
        self._marks[position] = mark
        self._count(mark, 1)
        if late:
            self._marks = dict(sorted(self._marks.items()))

    def drop(self, position: int) -> None:
        """Take away the mark of a set that has left."""
        self._count(self._marks.pop(position), -1)

    def _count(self, mark: Mark, by: int) -> None:
        self._asked[mark.asked] += by
        self._annotated += by * mark.annotated

    @property
    def asked(self) -> int:
        """Sets that were ever asked about."""
        return len(self._marks) - self._asked[0]

    @property
    def annotated(self) -> int:
        """How many sets have a verdict."""
        return self._annotated

    def asked_in(self, round_number: int) -> int:
        """Sets that this round asked about."""
        return self._asked[round_number]

    def unjudged(self) -> Iterator[int]:
        """Positions of sets without a verdict, oldest first."""
        return (position for position, mark in self._marks.items() if not mark.annotated)

    def pending(self, round_number: int) -> list[int]:
        """List positions without a verdict in the order of asking.

        Those never asked about come first, and of these the newest; none is asked about twice in one round.
        """
        waiting = [p for p, mark in self._marks.items() if not mark.annotated and mark.asked != round_number]
        return sorted(waiting, key=lambda position: (self._marks[position].asked, -position))
