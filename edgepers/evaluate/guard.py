"""Whether a new adapter may reach the owner: no worse on annotated sets held in reserve, and on general talk."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgepers.select.hashing import hash_text
from edgepers.select.records import KeptSet

__all__ = ["LEAST_RESERVE", "MOST_RESERVE", "Verdict", "default_perplexity_rise", "judge", "perplexity_rise", "split_reserve"]

MOST_RESERVE = 32
LEAST_RESERVE = 8
MOST_NATS = 700.0  # a rise of more has no float


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is "" where all is well, "unguarded" where there was too little to judge by, else why the adapter stays aside."""

    publish: bool
    reason: str
    loss_before: float | None
    loss_after: float | None
    perplexity_rise: float | None = None  # on general sets, against the base model, as a share


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


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None  # reports are JSON, which has no other numbers


def default_perplexity_rise(parameters: int) -> float:
    """The most that general perplexity may rise over the base model's, as a share.

    A model of a few million parameters pays 12 to 17 % for what it learns of its owner, with rehearsal, on development data
    (benchmarks/LOG.md); what rises further has been damaged.
    """
    return 0.25 if parameters < 50_000_000 else 0.05


def perplexity_rise(base: Sequence[float], after: Sequence[float]) -> float:
    """From losses in nats a token on the same sets, as a share."""
    return math.exp(min(_mean(after) - _mean(base), MOST_NATS)) - 1


def judge(before: Sequence[float], after: Sequence[float], rise: float, most_rise: float) -> Verdict:
    """Refuse an adapter whose paired reserve loss is worse by over one standard error, or that costs too much general perplexity.

    One without finite losses is refused however little there is to judge by.

    Perplexity is compared with the base model's, not with that of the adapter it replaces: small rises would add up over rounds.

    Args:
        before: losses of the adapter that is published now on each reserve set's reference, nats a token.
        after: of the new adapter.
        rise: `perplexity_rise` of the new adapter on general sets.
        most_rise: the limit.
    """
    n = len(before)
    if n < LEAST_RESERVE:
        loss_before, loss_after = (_mean(before), _mean(after)) if n else (None, None)
        finite = all(map(math.isfinite, [*after, rise]))
        return Verdict(finite, "unguarded" if finite else "it has no finite loss", loss_before, _finite(loss_after), _finite(rise))
    differences = [b - a for a, b in zip(before, after, strict=True)]
    worse = _mean(differences)
    error = math.sqrt(sum((d - worse) ** 2 for d in differences) / (n - 1) / n)
    reason = ""
    if not worse <= error:
        reason = f"loss on {n} sets in reserve is worse by {worse:.3f} (standard error {error:.3f})"
    elif not rise <= most_rise:
        reason = f"perplexity on general sets is {100 * rise:.1f} % above the base model's (at most {100 * most_rise:.0f} %)"
    return Verdict(not reason, reason, _mean(before), _finite(_mean(after)), _finite(rise))
