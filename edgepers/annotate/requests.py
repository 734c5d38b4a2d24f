"""Which kept sets the owner is asked about, and what becomes of the answers: rarely, newest first, never blocking."""

from collections.abc import Iterator
from itertools import islice

from edgepers.annotate.sources import SKIPPED, Source
from edgepers.select.verdicts import Verdicts
from edgepers.state.records import KeptSet

__all__ = ["annotate", "pending", "requests"]


def pending(verdicts: Verdicts, round_number: int) -> Iterator[KeptSet]:
    """List the sets without a verdict in the order of asking.

    Those never asked about come first, and of these the newest; none is asked about twice in one round.

    Each is opened when it is its turn; one that has left by then is passed over.
    """
    for position in verdicts.buffer.marks.pending(round_number):
        if verdicts.holds(position):
            yield verdicts.buffer.get(position)


def requests(verdicts: Verdicts, round_number: int, most: int) -> list[KeptSet]:
    """The first `most` sets that the owner would be asked about, in that order."""
    return list(islice(pending(verdicts, round_number), most))


def annotate(verdicts: Verdicts, source: Source, round_number: int, most: int) -> dict[str, int]:
    """Ask about at most `most` sets in this round, those asked before an interruption counted in.

    Returns:
        Counts by outcome: "good", "corrected", "skipped", "too_big", "no_room".
    """
    outcomes: dict[str, int] = {}
    left = most - verdicts.buffer.marks.asked_in(round_number)
    asking = pending(verdicts, round_number)
    while left > 0 and (kept := next(asking, None)) is not None:
        answer = source(kept)
        if answer is None:
            continue
        left -= 1
        outcome = "skipped"
        if answer is not SKIPPED:
            refusal = verdicts.annotate(kept.position, answer.reference, round_number)
            outcome = refusal or verdicts.buffer.get(kept.position).verdict
        if outcome in ("skipped", "too_big", "no_room"):
            verdicts.mark_asked(kept.position, round_number)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes
