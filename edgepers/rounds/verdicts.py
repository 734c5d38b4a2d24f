"""What the owner's verdicts come to for a round: sets to train on, sets in reserve, and sets to learn nothing from."""

from collections.abc import Sequence
from typing import NamedTuple

from edgepers.annotate.contradictions import part_contradicted
from edgepers.evaluate.reserve import split_reserve
from edgepers.state.records import KeptSet

__all__ = ["Parted", "nothing_to_train_on", "part"]


class Parted(NamedTuple):
    """Annotated sets, each in one place.

    `rejected` are those of whose response is known only that it was wrong, `contradicted` those whose verdict a later
    one takes back.
    """

    training: list[KeptSet]
    reserve: list[KeptSet]
    rejected: list[KeptSet]
    contradicted: tuple[KeptSet, ...]


def part(annotated: Sequence[KeptSet]) -> Parted:
    """Part annotated sets by what a round does with them."""
    valid, contradicted = part_contradicted(annotated)
    training, reserve = split_reserve([kept for kept in valid if not kept.rejected])
    return Parted(training, reserve, [kept for kept in valid if kept.rejected], contradicted)


def nothing_to_train_on(rejected: int) -> str:
    """Why there is nothing to train on, where so many sets were judged wrong; in one line, with what to do."""
    if not rejected:
        return "no annotated set to train on; correct a kept one, or say that it is fine"
    if rejected == 1:
        return "nothing to train on: the only verdict says that a response was wrong, not what is right; correct it"
    return (
        f"nothing to train on: all {rejected} verdicts say that a response was wrong, none what is right; correct one"
        " of them"
    )
