"""What a round trains on and is judged by: the annotated sets, with their variations and what asks for them again."""

from collections.abc import Collection
from dataclasses import dataclass

from edgepers.annotate.coverage import MOST
from edgepers.evaluate.guard import Asked
from edgepers.evaluate.reserve import split_reserve
from edgepers.model.language_model import LanguageModel
from edgepers.rounds.untold import untold_asked
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State
from edgepers.state.records import KeptSet
from edgepers.state.variations import Variations
from edgepers.synth.recurring import recurring

__all__ = ["TrainingData", "asked_again"]

# nats a token that a response may be less likely after another question than after its own, under the base model
LEAST_LIKELY = -0.4


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

    def asked(self, trained_on: Collection[int] | None = None) -> Asked:
        """What the guard asks of an adapter; `trained_on`: positions, where they are others than a round's now."""
        sets = [*self.training, *self.reserve]
        told = [kept for kept in sets if kept.position in trained_on] if trained_on is not None else self.training
        return Asked(
            told=[(kept.question, kept.wanted) for kept in told],
            reserve=[(kept.question, kept.wanted) for kept in self.reserve],
            untold=untold_asked([kept.question for kept in sets]),
        )


def asked_again(
    llm: LanguageModel, buffer: Buffer, training: list[KeptSet], most: int
) -> tuple[tuple[KeptSet, str], ...]:
    """Kept sets without a verdict that ask for the same as one to train on, with its response; at most `most` for each.

    Words tell which ones may (`recurring`); of these the base model takes those after which it finds the response about
    as likely as after its own question.
    """
    others = [buffer.get(position) for position in list(buffer.marks.unjudged())[-MOST:]] if training and most else []
    found = recurring([(kept.question, kept.wanted) for kept in training], [kept.question for kept in others])
    candidates = list(dict.fromkeys((i, kept.wanted) for kept, some in zip(training, found, strict=True) for i in some))
    if not candidates:
        return ()
    own: dict[str, float] = {}
    for kept, loss in zip(
        training, llm.losses([(kept.question, kept.wanted) for kept in training], adapter=False), strict=True
    ):
        own[kept.wanted] = max(loss, own.get(kept.wanted, 0.0))
    losses = llm.losses([(others[i].question, wanted) for i, wanted in candidates], adapter=False)
    taken: dict[str, int] = {}
    again = []
    for (i, wanted), loss in zip(candidates, losses, strict=True):
        room = most * sum(kept.wanted == wanted for kept in training)
        if own[wanted] - loss >= LEAST_LIKELY and taken.get(wanted, 0) < room:
            taken[wanted] = taken.get(wanted, 0) + 1
            again.append((others[i], wanted))
    return tuple(again)
