"""Chats between people: what the owner answered is what he or she would have wanted to be said."""

from collections.abc import Collection, Sequence
from itertools import groupby

from edgepers.errors import StreamError
from edgepers.streams.chats import ASSISTANT, USER, Turn, sets_of
from edgepers.streams.form import Way
from edgepers.streams.types import DialogueSet

__all__ = ["role_for", "sets_by_day"]


def role_for(who: str, me: str | None, names: Collection[str]) -> str:
    """Whether somebody asks, or is the owner, who answers.

    Raises:
        StreamError: nobody has said who the owner is.
    """
    if me is None:
        known = ", ".join(sorted(names)[:6])
        raise StreamError(f"a chat between people ({known}); say which of them you are: --me NAME")
    return ASSISTANT if who.strip().casefold() == me.strip().casefold() else USER


def sets_by_day(days: Sequence[tuple[str, Turn]], where: str, identity: str | None, way: Way) -> list[DialogueSet]:
    """The owner's answers as references; one that comes on another day answers nothing.

    Raises:
        ValueError: the owner says nothing at all.
    """
    if days and all(turn.role != ASSISTANT for _, turn in days):
        raise ValueError(f"'{where}' has nothing that {way.me!r} (--me) wrote")
    sets: list[DialogueSet] = []
    for day, turns in groupby(days, key=lambda pair: pair[0]):
        name = None if identity is None else f"{identity}-{day}"
        try:
            sets += sets_of((turn for _, turn in turns), where, name, way.notes, known="reference")
        except ValueError:
            way.notes.left_out(f"a day on which {way.me} answers nobody")
    return sets
