"""What is judged of an adapter, and by which limits: it has learned what it was taught, and harms nothing else."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from edgepers.config import Settings
from edgepers.evaluate.repeats import commonest
from edgepers.evaluate.reserve import LEAST_RESERVE

__all__ = ["LIMITS", "Evidence", "Limits", "Repeats", "Verdict", "judge", "perplexity_rise", "untaught"]

LEAST_KEPT = 0.8  # of what the whole update recalls, where a part of it is published
LEAST_SAME = 4  # answers with one response; fewer may ask for it in words that nothing has told to be the same
MOST_NATS = 700.0  # a rise of more has no float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an adapter is published, and why.

    `reason` is "" where all is well, "unguarded" where there was too little to judge by, else why the adapter stays
    aside.
    """

    publish: bool
    reason: str
    loss_before: float | None
    loss_after: float | None
    perplexity_rise: float | None = None  # on general sets, against the base model, as a share
    scale: float = 1.0  # of the update that was measured
    recalled: float | None = None  # share of the short trained responses that are said word for word
    repeated: float | None = None  # share of questions about what the owner has not told that get a trained response
    repeated_general: float | None = None  # of general questions
    repeated_others: float | None = None  # of the owner's own about something else, some of which it may answer


class Repeats(NamedTuple):
    """The trained responses that showed in answers, of so many."""

    found: Sequence[str] = ()
    asked: int = 0

    @property
    def share(self) -> float | None:
        """Of the answers."""
        return len(self.found) / self.asked if self.asked else None


NOT_ASKED = Repeats()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was measured of an adapter.

    Attributes:
        base: losses of the base model on each reserve set's reference, nats a token.
        before: of the adapter that is published now.
        after: of the new adapter.
        rise: `perplexity_rise` of the new adapter on general sets.
        recalled: of each short trained response, whether it is said.
        learned: mean loss of the trained responses, of the base model and of the new adapter, nats a token.
        untold: trained responses that show in answers to questions about what the owner has not told.
        general: in answers to general questions.
        others: in answers to questions of the owner's that are about something else.
    """

    base: Sequence[float]
    before: Sequence[float]
    after: Sequence[float]
    rise: float
    recalled: Sequence[bool] = ()
    learned: tuple[float, float] | None = None
    untold: Repeats = NOT_ASKED
    general: Repeats = NOT_ASKED
    others: Repeats = NOT_ASKED


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None  # reports are JSON, which has no other numbers


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a published adapter may do, and the least that it must, as shares.

    Attributes:
        perplexity: that perplexity on general sets may rise over the base model's.
        general: of general questions that may be answered with what was trained.
        untold: of questions about what the owner has not told.
        one: of the owner's questions about something else that may be answered with one and the same response.
        recalled: of the short responses that were trained on, the least that it says.
    """

    perplexity: float
    general: float
    untold: float
    one: float
    recalled: float

    @classmethod
    def of(cls, settings: Settings, parameters: int) -> "Limits":
        """By the model's size; of perplexity as set, where it is.

        A model of a few million parameters pays 12 to 17 % for what it learns of its owner, with rehearsal, on
        development data, says it where it should not, and says word for word a third of what it was taught where the
        questions are about everything (benchmarks/LOG.md).
        """
        limits = SMALLEST if parameters < 50_000_000 else LIMITS
        return limits if settings.guard_perplexity is None else replace(limits, perplexity=settings.guard_perplexity)


# Settled on the first adapters of four owners: benchmarks/LOG.md, benchmarks/bench_guard.py.
LIMITS = Limits(perplexity=0.05, general=0.2, untold=0.4, one=0.4, recalled=0.5)
SMALLEST = Limits(perplexity=0.25, general=0.5, untold=0.5, one=0.5, recalled=0.25)


def perplexity_rise(base: Sequence[float], after: Sequence[float]) -> float:
    """Return the rise of perplexity as a share, from losses in nats a token on the same sets."""
    return math.exp(min(_mean(after) - _mean(base), MOST_NATS)) - 1


def judge(evidence: Evidence, limits: Limits, *, whole: Sequence[bool] = ()) -> Verdict:
    """Refuse an adapter that has forgotten general talk or what it was taught, parrots it, or is worse on the reserve.

    Worse is a paired mean loss that is higher by over one standard error than that of what is published, or of no
    adapter. The base model is asked as well, since an adapter that was published for want of a reserve is no measure of
    what is good. Perplexity is compared with the base model's alone: small rises over the adapter that is replaced
    would add up over rounds.

    Args:
        evidence: what was measured.
        limits: by the model's size.
        whole: what the whole update recalled, where this is a part of it.
    """
    after, rise = evidence.after, evidence.rise
    refused = ""
    if not all(map(math.isfinite, [*after, rise])):
        refused = "it has no finite loss"
    else:
        refused = (  # what names a response comes first: its owner can look at that one
            _parrots(evidence, limits)
            or _forgets(rise, limits.perplexity)
            or untaught(evidence, limits.recalled, whole)
            or _worse_on_reserve(evidence)
        )
    guarded = len(after) >= LEAST_RESERVE or evidence.recalled
    return Verdict(
        not refused,
        refused or ("" if guarded else "unguarded"),
        _mean(evidence.before) if after else None,
        _finite(_mean(after)) if after else None,
        _finite(rise),
        recalled=_share(evidence.recalled),
        repeated=evidence.untold.share,
        repeated_general=evidence.general.share,
        repeated_others=evidence.others.share,
    )


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _parrots(evidence: Evidence, limits: Limits) -> str:
    for repeats, most, to in (
        (evidence.general, limits.general, "general questions"),
        (evidence.untold, limits.untold, "questions that nobody told"),
    ):
        if len(repeats.found) > most * repeats.asked:
            text, times = commonest(repeats.found)
            return (
                f"{len(repeats.found)} of {repeats.asked} {to} are answered with what it was trained on, {times} with"
                f" {_shortened(text)!r}"
            )
    text, times = commonest(evidence.others.found)
    asked = evidence.others.asked
    if times >= LEAST_SAME and times > limits.one * asked:
        return f"{times} of {asked} questions about something else are answered with {_shortened(text)!r}"
    return ""


def _forgets(rise: float, most: float) -> str:
    if rise <= most:
        return ""
    return f"perplexity on general sets is {100 * rise:.1f} % above the base model's (at most {100 * most:.0f} %)"


def _shortened(text: str, most: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def untaught(evidence: Evidence, least: float, whole: Sequence[bool] = ()) -> str:
    """Say what an adapter has not learned of its training, or lost of what the `whole` of it has; else nothing.

    Args:
        evidence: what was measured.
        least: share of the short responses that it must say.
        whole: what the whole update says, where this is a part of it.
    """
    recalled, n = evidence.recalled, len(evidence.recalled)
    if n and sum(recalled) < least * n:
        return f"{sum(recalled)} of {n} short responses that it was trained on are said (at least {least:.0%})"
    if sum(recalled) < LEAST_KEPT * sum(whole):
        return f"{sum(recalled)} of {sum(whole)} responses that the whole update says are left"
    if not n and evidence.learned is not None and not evidence.learned[1] < evidence.learned[0]:
        before, after = evidence.learned
        return f"loss on what it was trained on is {after:.3f}, the base model's {before:.3f}"
    return ""


def _worse_on_reserve(evidence: Evidence) -> str:
    if len(evidence.after) < LEAST_RESERVE:
        return ""
    return _worse("", evidence.before, evidence.after) or _worse(
        " than the base model's", evidence.base, evidence.after
    )


def _worse(than: str, losses: Sequence[float], after: Sequence[float]) -> str:
    """Say by how much the new losses are worse, where it is more than a standard error; else nothing."""
    n = len(after)
    differences = [b - a for a, b in zip(losses, after, strict=True)]
    worse = _mean(differences)
    error = math.sqrt(sum((d - worse) ** 2 for d in differences) / (n - 1) / n)
    return (
        f"loss on {n} sets in reserve is worse{than} by {worse:.3f} (standard error {error:.3f})"
        if worse > error
        else ""
    )
