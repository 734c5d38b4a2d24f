"""Which answers their owner did not keep: asked for again, or left behind when an earlier turn was changed."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from edgepers.streams.chats import Turn

__all__ = ["Talks"]

MOST_TALKS = 256
MOST_ANSWERS = 64  # of one talk
AGAIN_SECONDS = 600.0  # within which a talk without a name that is asked for again is the same one


@dataclass(frozen=True, slots=True)
class _Answer:
    depth: int  # turns of the user's before it
    asked: str
    said: str
    position: int
    at: float


class Talks:
    """The last talks, as digests: no text is kept here.

    A talk with a name (`X-Session-Id`) is one thread: an answer at a depth that it had reached before was regenerated,
    or an earlier turn was edited, and what stood there and below is left behind. Without a name two talks may begin
    alike, as commands to a house do: there only the very same turns, answered otherwise a moment later, were asked for
    again.
    """

    def __init__(self) -> None:
        self._talks: OrderedDict[str, list[_Answer]] = OrderedDict()

    def replaced(self, session: str, turns: Sequence[Turn], answer: str) -> tuple[int, ...]:
        """Positions of the answers that the one to these turns takes the place of; they are forgotten here."""
        name = _name(session, turns)
        answers = self._talks.get(name)
        if answers is None:
            return ()
        depth, asked, said = _depth(turns), _digest(*turns), _digest(answer)
        if session:
            gone = [one for one in answers if one.depth >= depth]
        else:
            since = time.monotonic() - AGAIN_SECONDS
            gone = [one for one in answers if one.asked == asked and one.said != said and one.at >= since]
        self._talks[name] = [one for one in answers if one not in gone]
        return tuple(one.position for one in gone)

    def before(self, session: str, turns: Sequence[Turn]) -> int | None:
        """Position of the answer that these turns go on from, where it is known."""
        if len(turns) < 3:
            return None
        asked, said = _digest(*turns[:-2]), _digest(turns[-2].text)
        found = [
            one.position for one in self._talks.get(_name(session, turns), ()) if (one.asked, one.said) == (asked, said)
        ]
        return found[-1] if found else None

    def note(self, session: str, turns: Sequence[Turn], answer: str, position: int) -> None:
        """Remember an answer by its position among the sets."""
        name = _name(session, turns)
        found = _Answer(_depth(turns), _digest(*turns), _digest(answer), position, time.monotonic())
        self._talks[name] = [*self._talks.get(name, ()), found][-MOST_ANSWERS:]
        self._talks.move_to_end(name)
        if len(self._talks) > MOST_TALKS:
            self._talks.popitem(last=False)

    def done(self, session: str) -> None:
        """A talk is over."""
        self._talks.pop(_name(session, ()), None)


def _name(session: str, turns: Sequence[Turn]) -> str:
    return _digest(session) if session else "turns " + _digest(*turns[:1])


def _depth(turns: Sequence[Turn]) -> int:
    return sum(turn.role == "user" for turn in turns)


def _digest(*parts: Turn | str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        text = part if isinstance(part, str) else f"{part.role}: {part.text}"
        data = " ".join(text.split()).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
