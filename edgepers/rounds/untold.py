"""Questions about what the owner has not told, to be learned as such.

Without them a small model that was taught the dog's name gives it to the cat. Zhang et al. 2024, "R-Tuning: Instructing
Large Language Models to Say 'I Don't Know'".
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from functools import cache

from edgepers.assets import untold_questions
from edgepers.streams.words import unicode_words

__all__ = ["MOST", "untold_asked", "untold_beside", "untold_rows"]

MOST = 24  # questions of one round: the most alike, several times each, rather than many once
ASKED = 12  # by the guard, of those and as many again of the others
TOLD = 0.5  # of a question's weight, in words that one of the owner's has too: that is told


@cache
def untold_rows() -> tuple[dict[str, str], ...]:
    """The packaged questions: `question`, `response`, `language`."""
    return tuple(map(json.loads, untold_questions().read_text(encoding="utf-8").splitlines()))


def untold_beside(told: Sequence[str], most: int = MOST) -> list[tuple[str, str]]:
    """(question, response) of packaged questions that no question of the owner's asks, the most alike first.

    Words weigh by how rare they are, so that what a question is about decides whether it has been told, and the
    owner's language and manner of asking which ones are taken.

    Args:
        told: the questions of all corrected sets.
        most: pairs, at most.
    """
    pairs = [(row["question"], row["response"]) for row in untold_rows()]
    theirs = [frozenset(unicode_words(question)) for question in told]
    mine = [frozenset(unicode_words(question)) for question, _ in pairs]
    counts = Counter(word for one in (*theirs, *mine) for word in one)
    weight = {word: math.log((len(theirs) + len(mine)) / count) for word, count in counts.items()}

    def of(some: frozenset[str]) -> float:
        return sum(weight[word] for word in sorted(some))

    alike: dict[int, float] = {}
    for i, one in enumerate(mine):
        if all(of(one & other) < TOLD * of(one) for other in theirs):
            alike[i] = max((len(one & other) / len(one | other) for other in theirs), default=0.0)
    return [pairs[i] for i in sorted(alike, key=lambda i: (-alike[i], i))[:most]]


def untold_asked(told: Sequence[str]) -> list[tuple[str, str]]:
    """(question, response) that a guard asks: of the most alike, which may have been trained on, and of others.

    Args:
        told: as for `untold_beside`.
    """
    ordered = untold_beside(told, most=MOST + ASKED)
    return ordered[:ASKED] + ordered[MOST:]
