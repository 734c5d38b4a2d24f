"""ROUGE-1: the stock score for reports, and one that knows every script for checks inside the product."""

import functools
from collections.abc import Sequence
from typing import Any

from edgepers.evaluate.words import unicode_words

__all__ = ["rouge1", "rouge1_unicode"]


class _UnicodeWords:
    """Words of any script (rouge-score's own tokenizer drops every letter outside a-z)."""

    def tokenize(self, text: str) -> list[str]:
        return unicode_words(text)


@functools.cache
def _scorer(*, unicode: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1"], use_stemmer=False, tokenizer=_UnicodeWords() if unicode else None)


def rouge1(references: Sequence[str], answers: Sequence[str]) -> float:
    """Mean ROUGE-1 F over questions: rouge-score 0.1.2, no stemmer; 0.0 for none."""
    scores = [
        _scorer(unicode=False).score(reference, answer)["rouge1"].fmeasure for reference, answer in zip(references, answers, strict=True)
    ]
    return sum(scores) / len(scores) if scores else 0.0


def rouge1_unicode(reference: str, answer: str) -> float:
    """ROUGE-1 F of one pair over Unicode words."""
    return float(_scorer(unicode=True).score(reference, answer)["rouge1"].fmeasure)
