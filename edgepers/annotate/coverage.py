"""Ask for coverage: the sets that stand for most of what the owner asks and that no verdict covers yet.

Facility location (Krause and Golovin 2014, "Submodular Function Maximization") over the words of the questions: what
is asked again and again has many neighbours, and one verdict covers them. Low-budget active learning asks so, too:
Hacohen et al. 2022, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets" (typicality).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgepers.streams.words import word_vectors

__all__ = ["MOST", "coverage_order", "similarities", "unlike"]

MOST = 2000  # sets that are compared with each other: their similarities are a square of so many float32
SHARPNESS = 2.0  # power of a similarity: above 1, many half alike do not make up for one that is alike
ALIKE = 0.25  # similarity of two questions that may ask for the same


def similarities(questions: Sequence[str]) -> NDArray[np.float32]:
    """Cosines of the questions' `word_vectors`, to the power of `SHARPNESS`.

    Args:
        questions: n of them.

    Returns:
        [n, n], from 0 to 1; a question without a word of its own is like none.
    """
    vectors = word_vectors(questions)
    like: NDArray[np.float32] = (vectors @ vectors.T).clip(0, 1) ** np.float32(SHARPNESS)
    return like


def coverage_order(questions: Sequence[str], covered: Sequence[int] = ()) -> Iterator[int]:
    """Indices of the questions that are not covered, each the one that then adds most coverage.

    A tie goes to the later one.

    Args:
        questions: n of them, oldest first.
        covered: indices of those that have a verdict.
    """
    yield from _covering(similarities(questions), covered)


def _covering(like: NDArray[np.float32], covered: Sequence[int]) -> Iterator[int]:
    """The same by the questions' `similarities`."""
    best = like[list(covered)].max(0) if len(covered) else np.zeros(len(like), np.float32)
    left = np.ones(len(like), bool)
    left[list(covered)] = False
    while left.any():
        gains = np.where(left, np.maximum(like - best, 0).sum(1), -1)
        chosen = int(np.flatnonzero(gains >= gains.max() - 1e-4)[-1])
        left[chosen] = False
        best = np.maximum(best, like[chosen])
        yield chosen


def unlike(judged: Sequence[str], others: Sequence[str], most: int = 16) -> list[str]:
    """Questions that stand for what an owner asks about and that no verdict covers, no two alike.

    Args:
        judged: questions that have a verdict; of these and of the others the newest are looked at, `MOST` in all.
        others: questions that have none, oldest first.
        most: questions, at most.
    """
    judged, others = judged[-MOST // 2 :], list(dict.fromkeys(others))[-MOST // 2 :]
    every = [*judged, *others]
    like = similarities(every)
    taken = [*range(len(judged))]
    chosen: list[int] = []
    for i in _covering(like, taken):
        if len(chosen) == most:
            break
        if like[i, i] > 0 and not (like[i, [*taken, *chosen]] > ALIKE).any():  # else it has no word of its own
            chosen.append(i)
    return [every[i] for i in chosen]
