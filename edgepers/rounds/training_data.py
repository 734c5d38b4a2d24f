"""What a round trains on and is judged by: the annotated sets, with their variations and what asks for them again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepers.annotate.coverage import MOST, unlike
from edgepers.evaluate.guard import Asked
from edgepers.model.language_model import LanguageModel
from edgepers.rounds.untold import untold_asked
from edgepers.rounds.verdicts import part
from edgepers.state.buffer import Buffer
from edgepers.state.embedding import scale
from edgepers.state.folder import State
from edgepers.state.records import KeptSet
from edgepers.state.variations import Variations
from edgepers.synth.recurring import asked_again, recurring

__all__ = ["Lessons", "TrainingData"]


class Lessons(NamedTuple):
    """(question, response) pairs to learn, and the name of the set that each comes from.

    The first `new` of them are to be learned, the others have been learned by `start`, the adapter to go on from; where
    that is "", all are new.
    """

    pairs: Sequence[tuple[str, str]]
    names: Sequence[str]
    new: int
    start: str


@dataclass(frozen=True)
class TrainingData:
    """Annotated sets to train on, those held back for the guard, and every variation by its set's position.

    `again` are kept sets that nobody has judged, or that were judged wrong, and that ask for the same as a set to train
    on, with its response. `contradicted` are annotated sets whose verdict a later one takes back, `rejected` those of
    whose response is known only that it was wrong: both are neither learned nor in reserve.
    """

    training: list[KeptSet]
    reserve: list[KeptSet]
    variations: dict[int, Variations]
    again: tuple[tuple[KeptSet, str], ...] = ()
    contradicted: tuple[KeptSet, ...] = ()
    rejected: list[KeptSet] = field(default_factory=list)

    @classmethod
    def of(cls, state: State, buffer: Buffer) -> "TrainingData":
        """Gather what is annotated and varied as things are now."""
        training, reserve, rejected, contradicted = part(buffer.annotated())
        variations = state.variations(buffer.sealer)
        return cls(training, reserve, variations, contradicted=contradicted, rejected=rejected)

    @property
    def variations_count(self) -> int:
        """Of the sets to train on."""
        return sum(len(self._varied(kept)) for kept in self.training)

    def _varied(self, kept: KeptSet) -> Sequence[tuple[str, str]]:
        return self.variations[kept.position].pairs if kept.position in self.variations else ()

    def lessons(self, parent: Mapping[str, Any] | None = None) -> Lessons:
        """What to train on: sets, their variations, then what asks again, what is new before what was learned.

        Args:
            parent: the report of the round that made the adapter to go on from; None: all is new. So it is where
                nothing else is, and where that adapter has learned what was judged wrong since.
        """
        if parent and self._taken_from(parent):
            parent = None
        learned = self._learned_by(parent) if parent else frozenset()
        rows = [(kept, (kept.question, kept.wanted)) for kept in self.training]
        rows += [(kept, pair) for kept in self.training for pair in self._varied(kept)]
        rows += [(kept, (kept.question, response)) for kept, response in self.again]
        new = [row for row in rows if row[0].position not in learned]
        if parent is None or not new:
            parent, new = None, rows
        old = [row for row in rows if row[0].position in learned] if parent else []
        both = [*new, *old]
        start = str(parent["adapter"]) if parent else ""
        return Lessons([pair for _, pair in both], [kept.name for kept, _ in both], len(new), start)

    def _taken_from(self, parent: Mapping[str, Any]) -> bool:
        """Whether a set that an adapter has learned was judged wrong since."""
        learned = {*parent["trained_on"], *parent["inherited"]}
        return any(kept.asked > parent["round"] and kept.position in learned for kept in self.rejected)

    def _learned_by(self, parent: Mapping[str, Any]) -> frozenset[int]:
        """Positions of what a round has learned, as it is to be learned now."""
        before = set(parent["trained_on"])
        same = [kept for kept in self.training if kept.position in before and kept.asked <= parent["round"]]
        answers = {kept.wanted for kept in same}
        again = [kept for kept, response in self.again if kept.position in parent["recurring"] and response in answers]
        return frozenset(kept.position for kept in (*same, *again))

    def with_recurring(self, llm: LanguageModel, buffer: Buffer, most: int) -> "TrainingData":
        """The same with kept sets that ask again what sets to train on ask, at most so many for each."""
        others = [*_unjudged(buffer), *self.rejected][-MOST:]
        corrected = [(kept.question, kept.wanted) for kept in self.training]
        again = asked_again(llm, corrected, [kept.question for kept in others], most)
        found = ((others[i], wanted) for i, wanted in again)
        # what was called wrong as an answer to a question is no answer to it
        return replace(self, again=tuple((o, wanted) for o, wanted in found if not o.rejected or o.response != wanted))

    def wrong(self) -> list[tuple[str, str]]:
        """(question, response) of which is known only that it was wrong.

        What a correction replaces is left out: making it less likely, too, cost more general perplexity than it gave
        facts (benchmarks/LOG.md).
        """
        return [(kept.question, kept.response) for kept in self.rejected if kept.response.strip()]

    def asked(self, buffer: Buffer, trained_on: Collection[int] | None = None) -> Asked:
        """What the guard asks of an adapter; `trained_on`: positions, where they are others than a round's now."""
        sets = [*self.training, *self.reserve]
        told = [kept for kept in sets if kept.position in trained_on] if trained_on is not None else self.training
        unjudged = _unjudged(buffer)
        corrected = [(kept.question, kept.wanted) for kept in sets]
        again = {
            i
            for some in recurring(corrected, [kept.question for kept in unjudged], _topics(buffer, [*sets, *unjudged]))
            for i in some
        }
        others = [kept.question for i, kept in enumerate(unjudged) if i not in again]
        return Asked(
            told=[(kept.question, kept.wanted) for kept in told],
            reserve=[(kept.question, kept.wanted) for kept in self.reserve],
            untold=untold_asked([kept.question for kept in sets]),
            others=unlike([kept.question for kept in sets], others),
        )


def _topics(buffer: Buffer, sets: Sequence[KeptSet]) -> NDArray[np.float32] | None:
    """Topics of sets as they are stored, None where the state stores something else."""
    if not sets or buffer.identity().get("embedding") != "question":
        return None
    stored: NDArray[np.float32] = np.stack([kept.embedding for kept in sets]).astype(np.float32)
    stored /= scale(stored.shape[1])
    return stored


def _unjudged(buffer: Buffer) -> list[KeptSet]:
    """The newest kept sets without a verdict, the oldest of them first."""
    return [buffer.get(position) for position in list(buffer.marks.unjudged())[-MOST:]]
