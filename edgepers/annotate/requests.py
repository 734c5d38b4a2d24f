"""Which kept sets the owner is asked about, and what becomes of the answers: rarely, and never blocking."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice

from edgepers.annotate.coverage import MOST, coverage_order
from edgepers.annotate.orders import ORDERS
from edgepers.annotate.sources import SKIPPED, Source
from edgepers.select.verdicts import Verdicts
from edgepers.state.buffer import Buffer
from edgepers.state.records import KeptSet

__all__ = ["annotate", "pending", "requests"]

_REFUSED = {
    "too_big": "its correction is too long to keep inside the storage budget; shorten it, or raise --storage",
    "no_room": "no room for its correction, since everything kept is judged; raise --storage",
}


def pending(verdicts: Verdicts, round_number: int, ask: str = "coverage") -> Iterator[KeptSet]:
    """List the sets whose right answer is not known, in the order of asking.

    Those never asked about come first, and last those that the owner has called wrong without a correction; none is
    asked about twice in one round. Each is opened when it is its turn; one that has left by then is passed over.

    Args:
        verdicts: of the buffer.
        round_number: that asks.
        ask: "coverage": what its owner has doubted, then what stands for most of what is not covered yet
            (`coverage_order`); else of `ORDERS`.
    """
    buffer = verdicts.buffer
    with buffer.lock:
        marks = buffer.marks
        order = marks.pending(round_number)
        before = [position for position in order if marks[position].asked]
        fresh = [position for position in order if not marks[position].asked]
        covering = [p for p in marks if marks[p].annotated or marks[p].asked == round_number][-MOST:]
        if ask == "coverage":
            chosen = _by_coverage(buffer, fresh[:MOST], covering)
            fresh = fresh[MOST:]
        else:
            chosen, fresh = iter(ORDERS[ask](buffer, fresh, covering)), []
        judged = [p for p in marks if marks[p].annotated and marks[p].asked != round_number]
    for position in chain(chosen, fresh, before):
        if verdicts.holds(position):
            yield buffer.get(position)
    for position in judged:
        if verdicts.holds(position) and (kept := buffer.get(position)).rejected:
            yield kept


def _by_coverage(buffer: Buffer, fresh: Sequence[int], covering: Sequence[int]) -> Iterator[int]:
    """Positions of sets that were never asked about: what its owner has doubted, the newest first; then by coverage."""
    if not fresh:
        return iter(())
    positions = [*covering, *sorted(fresh)]
    sets = [buffer.get(position) for position in positions]
    known = list(range(len(covering)))
    doubted = [i for i in reversed(range(len(covering), len(sets))) if sets[i].doubted]
    rest = coverage_order([kept.question for kept in sets], [*known, *doubted])
    return (positions[i] for i in chain(doubted, rest))


def requests(verdicts: Verdicts, round_number: int, most: int, ask: str = "coverage") -> list[KeptSet]:
    """The first `most` sets that the owner would be asked about, in that order."""
    return list(islice(pending(verdicts, round_number, ask), most))


def annotate(
    verdicts: Verdicts,
    source: Source,
    round_number: int,
    most: int,
    ask: str = "coverage",
    *,
    log: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Ask about at most `most` sets in this round, those asked before an interruption counted in.

    `ask` says in which order, as in `pending`; `log` gets a line about each answer that could not be kept.

    Returns:
        Counts by outcome: "good", "corrected", "bad", "skipped", "too_big", "no_room".
    """
    outcomes: dict[str, int] = {}
    left = most - verdicts.buffer.marks.asked_in(round_number)
    asking = pending(verdicts, round_number, ask)
    while left > 0 and (kept := next(asking, None)) is not None:
        answer = source(kept)
        if answer is None or (kept.rejected and answer.bad):  # that it was wrong is known
            continue
        left -= 1
        outcome = "skipped"
        if answer is not SKIPPED:
            refusal = verdicts.annotate(kept.position, answer.reference, round_number, bad=answer.bad)
            outcome = refusal or verdicts.buffer.get(kept.position).verdict
            if refusal and log is not None:
                log(f"set {kept.name}: {_REFUSED[refusal]}")
        if outcome in ("skipped", "too_big", "no_room") and not kept.rejected:  # whose verdict keeps its date
            verdicts.mark_asked(kept.position, round_number)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes
