"""Why a set was kept or dropped, in one line for its owner."""

from collections.abc import Sequence

import numpy as np

from edgepers.select.lexicon import GENERAL
from edgepers.select.policy import GRID, Kept, Newcomer
from edgepers.state.records import MOST_REPEATS, KeptSet

__all__ = ["explain", "explain_repeat"]

_SHOWN = 3  # evicted sets named


def explain(newcomer: Newcomer, kept: Kept, evict: Sequence[int] | None, reason: str, policy: str) -> str:
    """Return the line that says why a set was kept or dropped.

    Args:
        newcomer: the set decided on.
        kept: the buffer it met, before the decision.
        evict: rows of `kept` that left for it; None where it was dropped.
        reason: why it was dropped: "policy" or "too_big".
        policy: the policy's name.
    """
    scores = _scores(newcomer.entropy, newcomer.domain_score, newcomer.dissimilarity, newcomer.domain)
    if reason == "too_big":
        return f"dropped: too long to keep inside the storage budget ({scores})"
    if evict is None:
        return (
            f"dropped: {_lost(newcomer, kept) if policy == 'quality' else f'policy {policy} kept what is there'}"
            f" ({scores})"
        )
    if not len(evict):
        return f"kept: there was room ({scores})"
    against = "; ".join(_one(kept, row) for row in evict[:_SHOWN])
    more = f" and {len(evict) - _SHOWN} more" if len(evict) > _SHOWN else ""
    return f"kept in place of {against}{more} ({scores})"


def explain_repeat(newcomer: Newcomer, same: KeptSet) -> str:
    """Return the line that says of a repeat on which kept set it was counted, as that was before."""
    scores = _scores(newcomer.entropy, newcomer.domain_score, newcomer.dissimilarity, newcomer.domain)
    times = same.repeats + 1 + (same.repeats < MOST_REPEATS)
    return f"counted on set {same.position}, which asks the same, now {times} times ({scores})"


def _scores(entropy: int, domain_score: int, dissimilarity: int, domain: str) -> str:
    return f"EOE {entropy / GRID:.3f}, DSS {domain_score / GRID:.4f}, IDD {dissimilarity / GRID:.3f}, {domain}"


def _one(kept: Kept, row: int) -> str:
    parts = (kept.entropy[row], kept.domain_score[row], kept.dissimilarity[row])
    return "set {} (EOE {:.3f}, DSS {:.4f}, IDD {:.3f})".format(
        int(kept.position[row]), *(int(part) / GRID for part in parts)
    )


def _lost(newcomer: Newcomer, kept: Kept) -> str:
    """Which of the three scores stood in the way."""
    lower = {"EOE": kept.entropy < newcomer.entropy, "IDD": kept.dissimilarity < newcomer.dissimilarity}
    if newcomer.domain != GENERAL:
        lower["DSS"] = kept.domain_score < newcomer.domain_score
    counts = ", ".join(f"{int(lower[name].sum())} in {name}" for name in ("EOE", "DSS", "IDD") if name in lower)
    both = int(np.logical_and.reduce(list(lower.values())).sum())
    if both:
        return f"the {both} of {len(kept.position)} kept sets that it beats in every score would not make room enough"
    return f"of {len(kept.position)} kept sets it beats {counts}, none in all"
