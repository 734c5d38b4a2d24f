"""What a round trains on and is judged by: the annotated sets, with their variations and what asks for them again."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from edgepers.annotate.coverage import MOST
from edgepers.evaluate.guard import Asked
from edgepers.evaluate.reserve import split_reserve
from edgepers.model.language_model import LanguageModel
from edgepers.rounds.untold import untold_asked
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State
from edgepers.state.records import KeptSet
from edgepers.state.variations import Variations
from edgepers.synth.recurring import asked_again

__all__ = ["TrainingData"]


@dataclass(frozen=True)
class TrainingData:
    """Annotated sets to train on, those held back for the guard, and every variation by its set's position.

    `again` are kept sets that nobody has judged and that ask for the same as a set to train on, with its response.
    """

    training: list[KeptSet]
    reserve: list[KeptSet]
    variations: dict[int, Variations]
    again: tuple[tuple[KeptSet, str], ...] = ()

    @classmethod
    def of(cls, state: State, buffer: Buffer) -> "TrainingData":
        """Gather what is annotated and varied as things are now."""
        training, reserve = split_reserve(buffer.annotated())
        return cls(training, reserve, state.variations(buffer.sealer))

    def pairs(self) -> tuple[list[tuple[str, str]], list[str]]:
        """Return (question, response) pairs to train on, and the name of the set that each comes from.

        Sets come before variations, and these before what asks again.
        """
        pairs = [(kept.question, kept.wanted) for kept in self.training]
        names = [kept.name for kept in self.training]
        for kept in self.training:
            varied = self.variations[kept.position].pairs if kept.position in self.variations else ()
            pairs.extend(varied)
            names.extend([kept.name] * len(varied))
        pairs += [(kept.question, response) for kept, response in self.again]
        names += [kept.name for kept, _ in self.again]
        return pairs, names

    def with_recurring(self, llm: LanguageModel, buffer: Buffer, most: int) -> "TrainingData":
        """The same with kept sets that ask again what sets to train on ask, at most so many for each."""
        others = [buffer.get(position) for position in list(buffer.marks.unjudged())[-MOST:]]
        corrected = [(kept.question, kept.wanted) for kept in self.training]
        again = asked_again(llm, corrected, [kept.question for kept in others], most)
        return replace(self, again=tuple((others[i], wanted) for i, wanted in again))

    def asked(self, trained_on: Collection[int] | None = None) -> Asked:
        """What the guard asks of an adapter; `trained_on`: positions, where they are others than a round's now."""
        sets = [*self.training, *self.reserve]
        told = [kept for kept in sets if kept.position in trained_on] if trained_on is not None else self.training
        return Asked(
            told=[(kept.question, kept.wanted) for kept in told],
            reserve=[(kept.question, kept.wanted) for kept in self.reserve],
            untold=untold_asked([kept.question for kept in sets]),
        )
