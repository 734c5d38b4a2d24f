"""How well a model answers a test set, beside what answers that know nothing would score."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepers.evaluate.rouge import rouge1
from edgepers.model.language_model import LanguageModel
from edgepers.streams import DialogueSet, read_dialogue_sets

__all__ = ["Evaluation", "Floors", "evaluate", "floors", "test_digest", "test_sets"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Answers in the test set's order, and their mean ROUGE-1 F."""

    rouge1: float
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Floors:
    """ROUGE-1 of echoing the question, and of one constant answer: the owner's most typical one."""

    echo: float
    constant: float | None
    constant_answer: str | None


def test_sets(test: str | Path | Sequence[DialogueSet] | None) -> list[DialogueSet]:
    """A test set from a file, as given, or empty for None."""
    if test is None:
        return []
    return read_dialogue_sets(test, need_reference=True) if isinstance(test, (str, Path)) else list(test)


def test_digest(test: Sequence[DialogueSet]) -> str:
    """Tells two test sets apart; "" for none."""
    if not test:
        return ""
    return hashlib.sha256(repr([(dialogue.question, dialogue.reference) for dialogue in test]).encode()).hexdigest()[
        :16
    ]


def evaluate(llm: LanguageModel, test: Sequence[DialogueSet], *, adapter: bool = True) -> Evaluation:
    """Score greedy answers of at most 64 new tokens against the references.

    ROUGE-1 F is rouge-score 0.1.2's, without stemmer, as the mean over questions.
    """
    answers = llm.answer([dialogue.question for dialogue in test], adapter=adapter)
    return Evaluation(rouge1([dialogue.reference or "" for dialogue in test], answers), tuple(answers))


def floors(test: Sequence[DialogueSet], owner_answers: Sequence[str]) -> Floors:
    """Score what knowing nothing gives on a test set.

    The constant answer is chosen among the owner's, without looking at the test.
    """
    references = [dialogue.reference or "" for dialogue in test]
    echo = rouge1(references, [dialogue.question for dialogue in test])
    if not owner_answers:
        return Floors(echo, None, None)
    constant = max(owner_answers, key=lambda answer: rouge1(owner_answers, [answer] * len(owner_answers)))
    return Floors(echo, rouge1(references, [constant] * len(test)), constant)
