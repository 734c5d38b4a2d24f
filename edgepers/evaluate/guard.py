"""Whether a new adapter may reach the owner: no worse on annotated sets held in reserve, and on general talk."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgepers.select.hashing import hash_text
from edgepers.select.records import KeptSet

__all__ = ["LEAST_RESERVE", "MOST_RESERVE", "Measured", "Verdict", "judge", "split_reserve"]

MOST_RESERVE = 32
LEAST_RESERVE = 8
MOST_PERPLEXITY_RISE = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """Losses, nats a token, of one model: each reserve set's reference, and the general sets."""

    reserve: Sequence[float]
    general: Sequence[float]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is "" where all is well, "unguarded" where there was too little to judge by, else why the adapter stays aside."""

    publish: bool
    reason: str
    loss_before: float | None
    loss_after: float | None


def is_reserved(kept: KeptSet) -> bool:
    """A fifth of the sets by hash of the id (the question where there is none), for ever."""
    return hash_text(kept.id or kept.question) % 5 == 0


def split_reserve(annotated: Sequence[KeptSet]) -> tuple[list[KeptSet], list[KeptSet]]:
    """Annotated sets -> (those to train on, those in reserve: the newest 32 at most); a reserved set is never trained on."""
    reserved = [kept for kept in annotated if is_reserved(kept)]
    newest = sorted(reserved, key=lambda kept: kept.position)[-MOST_RESERVE:]
    return [kept for kept in annotated if not is_reserved(kept)], newest


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def judge(before: Measured, after: Measured) -> Verdict:
    """Refuse an adapter whose paired reserve loss is worse by over one standard error, or whose general perplexity rose by over 5 %."""
    n = len(before.reserve)
    if n < LEAST_RESERVE:
        loss_before, loss_after = (_mean(before.reserve), _mean(after.reserve)) if n else (None, None)
        return Verdict(True, "unguarded", loss_before, loss_after)
    differences = [b - a for a, b in zip(before.reserve, after.reserve, strict=True)]
    worse = _mean(differences)
    error = math.sqrt(sum((d - worse) ** 2 for d in differences) / (n - 1) / n)
    rise = math.exp(_mean(after.general) - _mean(before.general)) - 1
    reason = ""
    if not worse <= error:
        reason = f"loss on {n} sets in reserve is worse by {worse:.3f} (standard error {error:.3f})"
    elif not rise <= MOST_PERPLEXITY_RISE:
        reason = f"perplexity on general sets rose by {100 * rise:.1f} % (at most {100 * MOST_PERPLEXITY_RISE:.0f} %)"
    return Verdict(not reason, reason, _mean(before.reserve), _mean(after.reserve))
