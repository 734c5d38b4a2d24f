"""The guard: ask an adapter and the base model what a verdict is made of, and publish the adapter or keep it aside."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from edgepers.assets import general_sets, rehearsal_sets
from edgepers.config import Settings
from edgepers.evaluate.repeats import ANSWER_TOKENS, repeats
from edgepers.evaluate.verdict import Evidence, Limits, Repeats, Verdict, judge, perplexity_rise, untaught
from edgepers.model.lora import scale_saved
from edgepers.streams import read_dialogue_sets

if TYPE_CHECKING:
    from edgepers.model.language_model import LanguageModel

__all__ = ["PART", "Asked", "Examiner", "guard", "pairs_of"]

Pair = tuple[str, str]

MOST_RECALLED = 64  # responses that are asked for, the newest
SHORT_TOKENS = 24  # of a response that is to be said word for word; a longer one is judged by its loss
GENERAL_ASKED = 24
# Of an update that is refused whole. The way from the base model to an adapter that has learned a few sets by heart
# passes through better models than its end (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"); half of it
# has lost what was trained.
PART = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a guard asks.

    Attributes:
        told: (question, response) of the sets that were trained on, the newest last.
        reserve: (question, response) of sets that were held back.
        untold: (question, response) of what the owner has not told, as it is to be answered.
        others: questions of the owner's that nothing of `told` is about.
    """

    told: Sequence[Pair]
    reserve: Sequence[Pair] = ()
    untold: Sequence[Pair] = ()
    others: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Said:
    """What a model says without or with an adapter: losses on the reserve and on general sets, answers."""

    reserve: Sequence[float]
    general: Sequence[float]
    answers: Sequence[str]  # to what nobody told


class Examiner:
    """Asks a model, with an adapter and without, what a verdict is made of; the base model is asked once.

    Args:
        base: the model; the adapter that is on it is not asked.
        asked: what.
    """

    def __init__(self, base: "LanguageModel", asked: Asked) -> None:
        self._asked = asked
        self._general = pairs_of(general_sets())
        general = self._general[:GENERAL_ASKED]
        self._questions = [*(question for question, _ in (*asked.untold, *general)), *asked.others]
        self._base = self._said(base, adapter=False)
        newest = list(asked.told)[-MOST_RECALLED:]
        self._short = [pair for pair in newest if len(base.token_ids(pair[1])) <= SHORT_TOKENS]
        self._long = [] if self._short else newest
        self._unlearned = base.losses(self._long, adapter=False)

    def _said(self, llm: "LanguageModel", *, adapter: bool) -> _Said:
        return _Said(
            llm.losses(self._asked.reserve, adapter=adapter),
            llm.losses(self._general, adapter=adapter),
            llm.answer(self._questions, adapter=adapter, max_new_tokens=ANSWER_TOKENS),
        )

    def examine(self, llm: "LanguageModel", before: Sequence[float] | None = None) -> Evidence:
        """Measure what is on a model.

        Args:
            llm: the base model or the same with other weights, with the adapter or with it merged.
            before: losses on the reserve of the adapter that is published; None: there is none.
        """
        said, base = self._said(llm, adapter=True), self._base
        usual = [text for pair in (*self._general, *pairs_of(rehearsal_sets()), *self._asked.untold) for text in pair]
        n, end = len(self._asked.untold), len(self._questions) - len(self._asked.others)

        def repeated(part: slice, responses: Sequence[str]) -> Repeats:
            asked = self._questions[part]
            return Repeats(repeats(asked, said.answers[part], base.answers[part], responses, usual), len(asked))

        told = [response for _, response in self._asked.told]
        # That it is not told is the right answer to what is untold, and to a general question as wrong as any other.
        general = [*told, *(response for _, response in self._asked.untold)]
        return Evidence(
            base=base.reserve,
            before=base.reserve if before is None else before,
            after=said.reserve,
            rise=perplexity_rise(base.general, said.general),
            recalled=llm.recalled(self._short),
            learned=(fmean(self._unlearned), fmean(llm.losses(self._long))) if self._long else None,
            untold=repeated(slice(n), told),
            general=repeated(slice(n, end), general),
            others=repeated(slice(end, None), told),
        )


def guard(llm: "LanguageModel", settings: Settings, asked: Asked, published: Path | None, new: Path | None) -> Verdict:
    """Measure a new adapter beside the published one (None: the base model) and the base model, and judge it.

    Where the whole is refused, `PART` of its update is judged, too; if that is let out and has kept what the whole
    recalls, the adapter is scaled down to it in its folder.
    """
    if not settings.guard:
        return Verdict(True, "guard off", None, None)
    llm.use_adapter(published)
    before = llm.losses(asked.reserve)
    examiner = Examiner(llm, asked)
    limits = Limits.of(settings, llm.parameter_count)
    llm.use_adapter(new)
    found = examiner.examine(llm, before)
    whole = judge(found, limits)
    if whole.publish or new is None or not found.recalled or untaught(found, limits.recalled):
        return whole  # a part of an update says no more than the whole
    llm.use_adapter(new, scale=PART)
    part = judge(examiner.examine(llm, before), limits, whole=found.recalled)
    if not part.publish:
        return whole
    llm.use_adapter(None)
    scale_saved(new, PART)
    return replace(part, scale=PART)


def pairs_of(path: Path) -> list[tuple[str, str]]:
    """(question, reference) of the dialogue sets in a file."""
    return [(dialogue.question, dialogue.reference or "") for dialogue in read_dialogue_sets(path, need_reference=True)]
