"""Which kept sets the owner is asked about, and what becomes of the answers: rarely, and never blocking."""

from collections.abc import Iterator
from itertools import islice

from edgepers.annotate.coverage import MOST, coverage_order
from edgepers.annotate.sources import SKIPPED, Source
from edgepers.select.verdicts import Verdicts
from edgepers.state.records import KeptSet

__all__ = ["annotate", "pending", "requests"]


def pending(verdicts: Verdicts, round_number: int, ask: str = "coverage") -> Iterator[KeptSet]:
    """List the sets without a verdict in the order of asking.

    Those never asked about come first; none is asked about twice in one round. Each is opened when it is its turn; one
    that has left by then is passed over.

    Args:
        verdicts: of the buffer.
        round_number: that asks.
        ask: "coverage": what stands for most of what is not covered yet (`coverage_order`); "newest".
    """
    marks = verdicts.buffer.marks
    order = marks.pending(round_number)
    if ask == "coverage":
        asked_before = [position for position in order if marks[position].asked]
        order = [*_by_coverage(verdicts, [p for p in order if not marks[p].asked], round_number), *asked_before]
    for position in order:
        if verdicts.holds(position):
            yield verdicts.buffer.get(position)


def _by_coverage(verdicts: Verdicts, fresh: list[int], round_number: int) -> Iterator[int]:
    """Positions never asked about, by coverage; sets that were judged, or asked about in this round, cover."""
    buffer = verdicts.buffer
    newest = sorted(fresh)[-MOST:]
    covering = [p for p in buffer.marks if buffer.marks[p].annotated or buffer.marks[p].asked == round_number][-MOST:]
    positions = [*covering, *newest]
    questions = [buffer.get(position).question for position in positions]
    yield from (positions[i] for i in coverage_order(questions, range(len(covering))))
    yield from fresh[MOST:]  # newest first, as they are given


def requests(verdicts: Verdicts, round_number: int, most: int, ask: str = "coverage") -> list[KeptSet]:
    """The first `most` sets that the owner would be asked about, in that order."""
    return list(islice(pending(verdicts, round_number, ask), most))


def annotate(verdicts: Verdicts, source: Source, round_number: int, most: int, ask: str = "coverage") -> dict[str, int]:
    """Ask about at most `most` sets in this round, those asked before an interruption counted in.

    `ask` says in which order, as in `pending`.

    Returns:
        Counts by outcome: "good", "corrected", "skipped", "too_big", "no_room".
    """
    outcomes: dict[str, int] = {}
    left = most - verdicts.buffer.marks.asked_in(round_number)
    asking = pending(verdicts, round_number, ask)
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
