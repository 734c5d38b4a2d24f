"""Whether a new adapter may reach the owner: no worse on annotated sets held in reserve, and on general talk."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepers.assets import general_sets
from edgepers.config import Settings
from edgepers.hashing import hash_text
from edgepers.model.lora import scale_saved
from edgepers.state.records import KeptSet
from edgepers.streams import read_dialogue_sets

if TYPE_CHECKING:
    from edgepers.model.language_model import LanguageModel

__all__ = [
    "LEAST_RESERVE",
    "MOST_RESERVE",
    "SCALES",
    "Verdict",
    "default_perplexity_rise",
    "guard",
    "judge",
    "most_perplexity_rise",
    "pairs_of",
    "perplexity_rise",
    "split_reserve",
]

MOST_RESERVE = 32
LEAST_RESERVE = 8
# Of an adapter's update: what is refused whole may still be published in part. One that has learned a few sets by heart
# is sure of itself where it should not be; the way from the base model to it passes through better models than its end
# (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
SCALES = (0.75, 0.5, 0.35)
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


def is_reserved(kept: KeptSet) -> bool:
    """A fifth of the sets by hash of the id (the question where there is none), for ever."""
    return hash_text(kept.id or kept.question) % 5 == 0


def split_reserve(annotated: Sequence[KeptSet]) -> tuple[list[KeptSet], list[KeptSet]]:
    """Split annotated sets into those to train on and those in reserve, the newest 32 at most.

    A reserved set is never trained on.
    """
    reserved = [kept for kept in annotated if is_reserved(kept)]
    newest = sorted(reserved, key=lambda kept: kept.position)[-MOST_RESERVE:]
    return [kept for kept in annotated if not is_reserved(kept)], newest


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None  # reports are JSON, which has no other numbers


def default_perplexity_rise(parameters: int) -> float:
    """The most that general perplexity may rise over the base model's, as a share.

    A model of a few million parameters pays 12 to 17 % for what it learns of its owner, with rehearsal, on development
    data (benchmarks/LOG.md); what rises further has been damaged.
    """
    return 0.25 if parameters < 50_000_000 else 0.05


def most_perplexity_rise(settings: Settings, parameters: int) -> float:
    """The most that general perplexity may rise, as a share: as set, or by the model's size."""
    return default_perplexity_rise(parameters) if settings.guard_perplexity is None else settings.guard_perplexity


def perplexity_rise(base: Sequence[float], after: Sequence[float]) -> float:
    """Return the rise of perplexity as a share, from losses in nats a token on the same sets."""
    return math.exp(min(_mean(after) - _mean(base), MOST_NATS)) - 1


def judge(
    base: Sequence[float], before: Sequence[float], after: Sequence[float], rise: float, most_rise: float
) -> Verdict:
    """Refuse an adapter that is worse on the reserve than what is published, or than no adapter, or on general sets.

    Worse is a paired mean loss that is higher by over one standard error. The base model is asked as well, since an
    adapter that was published for want of a reserve is no measure of what is good. Perplexity is compared with the base
    model's alone: small rises over the adapter that is replaced would add up over rounds. With fewer than
    `LEAST_RESERVE` sets in reserve, it alone decides.

    Args:
        base: losses of the base model on each reserve set's reference, nats a token.
        before: of the adapter that is published now.
        after: of the new adapter.
        rise: `perplexity_rise` of the new adapter on general sets.
        most_rise: the limit.
    """
    n = len(after)
    refused = ""
    if not all(map(math.isfinite, [*after, rise])):
        refused = "it has no finite loss"
    elif rise > most_rise:
        refused = (
            f"perplexity on general sets is {100 * rise:.1f} % above the base model's (at most {100 * most_rise:.0f} %)"
        )
    elif n >= LEAST_RESERVE:
        refused = _worse("", before, after) or _worse(" than the base model's", base, after)
    reason = refused or ("" if n >= LEAST_RESERVE else "unguarded")
    return Verdict(
        not refused, reason, _mean(before) if n else None, _finite(_mean(after)) if n else None, _finite(rise)
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


def guard(
    llm: "LanguageModel",
    settings: Settings,
    own: Sequence[tuple[str, str]],
    published: Path | None,
    new: Path | None,
) -> Verdict:
    """Measure a new adapter beside the published one (None: the base model) and the base model, and judge it.

    It is measured on the reserve and on general sets.

    `own` are (question, wanted response) of the reserve.

    One that is refused whole is scaled down to the largest of `SCALES` that is not, in its folder; if there is none it
    stays as it is.
    """
    if not settings.guard:
        return Verdict(True, "guard off", None, None)
    general = pairs_of(general_sets())
    llm.use_adapter(published)
    before = llm.losses(own)
    base, general_base = llm.losses(own, adapter=False), llm.losses(general, adapter=False)
    most = most_perplexity_rise(settings, llm.parameter_count)

    def judged(scale: float) -> Verdict:
        llm.use_adapter(new, scale=scale)
        verdict = judge(base, before, llm.losses(own), perplexity_rise(general_base, llm.losses(general)), most)
        return replace(verdict, scale=scale)

    whole = judged(1.0)
    if whole.publish or new is None:
        return whole
    in_part = next((verdict for verdict in map(judged, SCALES) if verdict.publish), None)
    if in_part is None:
        return whole
    llm.use_adapter(None)
    scale_saved(new, in_part.scale)
    return in_part


def pairs_of(path: Path) -> list[tuple[str, str]]:
    """(question, reference) of the dialogue sets in a file."""
    return [(dialogue.question, dialogue.reference or "") for dialogue in read_dialogue_sets(path, need_reference=True)]
