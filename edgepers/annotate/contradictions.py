"""Which verdicts a later one takes back: the same is asked, and another answer is wanted."""

from collections import Counter
from collections.abc import Sequence

from edgepers.state.records import KeptSet
from edgepers.streams.words import rare_words, unicode_words, word_f1

__all__ = ["contradicted", "part_contradicted"]

ALIKE = 0.6  # F1 of the words of two answers that differ in what they tell alone


def contradicted(verdicts: Sequence[tuple[str, str]]) -> list[int]:
    """Indices of the verdicts that a later one contradicts.

    Two contradict each other where their answers differ and their questions have the same words, in any case and order;
    or where the questions are about the same (the rare words that each shares with its answer are in the other one,
    too) and the answers are alike but for what they tell: "Your dog is called Moon", "Your dog is called Rex".

    Args:
        verdicts: (question, wanted answer), the latest last.
    """
    asked = [Counter(unicode_words(question)) for question, _ in verdicts]
    answered = [Counter(unicode_words(answer)) for _, answer in verdicts]
    rare = rare_words(Counter(word for words in asked for word in words), len(asked))
    topics = [question.keys() & answer.keys() & rare for question, answer in zip(asked, answered, strict=True)]
    found = []
    for i in range(len(verdicts)):
        for j in range(i + 1, len(verdicts)):
            if answered[i] != answered[j] and (
                (asked[i] == asked[j] and asked[i])
                or (
                    topics[i]
                    and topics[j]
                    and topics[i] <= asked[j].keys()
                    and topics[j] <= asked[i].keys()
                    and word_f1(answered[i], answered[j]) >= ALIKE
                )
            ):
                found.append(i)
                break
    return found


def part_contradicted(annotated: Sequence[KeptSet]) -> tuple[list[KeptSet], tuple[KeptSet, ...]]:
    """Annotated sets whose verdict holds, and those whose verdict a later one takes back.

    Later is what a later round asked about, or in the same round what came later in the stream. A response that is
    judged wrong takes back that it was wanted, and the other way round.
    """
    latest_last = sorted(annotated, key=lambda kept: (kept.asked, kept.position))
    taught = [kept for kept in latest_last if not kept.rejected]
    gone = {taught[i].position for i in contradicted([(kept.question, kept.wanted) for kept in taught])}
    gone |= _taken_back(latest_last)
    return (
        [kept for kept in annotated if kept.position not in gone],
        tuple(kept for kept in annotated if kept.position in gone),
    )


def _taken_back(latest_last: Sequence[KeptSet]) -> set[int]:
    """Positions of sets with the same question and response as one that was judged the other way later."""
    same: dict[tuple[object, object], list[KeptSet]] = {}
    for kept in latest_last:
        same.setdefault((_words(kept.question), _words(kept.wanted)), []).append(kept)
    return {kept.position for sets in same.values() for kept in sets if kept.rejected != sets[-1].rejected}


def _words(text: str) -> object:
    """What two texts of the same words have in common; text without a word is itself."""
    return frozenset(Counter(unicode_words(text)).items()) or text.strip()
