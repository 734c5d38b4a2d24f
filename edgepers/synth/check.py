"""Which variations are worth training on: near the original, yet not the original, and not said before."""

from collections.abc import Sequence

from edgepers.evaluate.rouge import rouge1_unicode

__all__ = ["LEAST_ROUGE1", "MOST_ROUGE1", "refusal"]

LEAST_ROUGE1, MOST_ROUGE1 = 0.4, 0.95


def refusal(original: str, variation: str | None, others: Sequence[str]) -> str:
    """Why a variation is refused, or "" where it is kept: ROUGE-1 F1 against the original must lie in [0.4, 0.95]."""
    if variation is None:
        return "no_brackets"
    if any(rouge1_unicode(other, variation) == 1.0 for other in others):
        return "repeated"
    score = rouge1_unicode(original, variation)
    if score < LEAST_ROUGE1:
        return "too_far"
    return "too_near" if score > MOST_ROUGE1 else ""
