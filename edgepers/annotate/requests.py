"""Which kept sets the owner is asked about, and what becomes of the answers: rarely, newest first, never blocking."""

from edgepers.annotate.sources import SKIPPED, Source
from edgepers.select.selector import Selector
from edgepers.state.records import KeptSet

__all__ = ["annotate", "pending"]


def pending(selector: Selector, round_number: int) -> list[KeptSet]:
    """Sets without a verdict in the order of asking: never asked first, and of those the newest; not twice in one round."""
    open_sets = [kept for kept in selector.buffer if not kept.annotated and kept.asked != round_number]
    return sorted(open_sets, key=lambda kept: (kept.asked, -kept.position))


def annotate(selector: Selector, source: Source, round_number: int, most: int) -> dict[str, int]:
    """Ask about at most `most` sets in this round, those asked before an interruption counted in.

    Returns:
        Counts by outcome: "good", "corrected", "skipped", "too_big", "no_room".
    """
    outcomes: dict[str, int] = {}
    left = most - sum(kept.asked == round_number for kept in selector.buffer)
    for kept in pending(selector, round_number):
        if left <= 0:
            break
        if not selector.holds(kept.position):  # gone to make room for an earlier answer
            continue
        answer = source(kept)
        if answer is None:
            continue
        left -= 1
        outcome = "skipped"
        if answer is not SKIPPED:
            refusal = selector.annotate(kept.position, answer.reference, round_number)
            outcome = refusal or selector.buffer.get(kept.position).verdict
        if outcome in ("skipped", "too_big", "no_room"):
            selector.mark_asked(kept.position, round_number)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes
