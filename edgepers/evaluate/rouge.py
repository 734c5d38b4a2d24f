"""ROUGE-1 (Lin 2004): the stock score for reports, and one that knows every script for checks inside the product.

Counted here: rouge-score 0.1.2, whose every figure this is (a test compares them), imports nltk and scipy for it, 129
MB of memory.
"""

import re
from collections import Counter
from collections.abc import Sequence

from edgepers.streams.words import unicode_words

__all__ = ["rouge1", "rouge1_unicode"]


def _f_score(reference: Sequence[str], answer: Sequence[str]) -> float:
    """Return the F score of the words that two texts share, each as often as both have it."""
    shared = sum((Counter(reference) & Counter(answer)).values())
    precision, recall = shared / max(len(answer), 1), shared / max(len(reference), 1)
    return 2 * precision * recall / (precision + recall) if shared else 0.0


def _stock_words(text: str) -> list[str]:
    """rouge-score's own tokenizer without its stemmer: it drops every letter outside a-z."""
    return re.findall("[a-z0-9]+", text.lower())


def rouge1(references: Sequence[str], answers: Sequence[str]) -> float:
    """Mean ROUGE-1 F over questions, as rouge-score 0.1.2 without a stemmer has it; 0.0 for none."""
    scores = [
        _f_score(_stock_words(reference), _stock_words(answer))
        for reference, answer in zip(references, answers, strict=True)
    ]
    return sum(scores) / len(scores) if scores else 0.0


def rouge1_unicode(reference: str, answer: str) -> float:
    """ROUGE-1 F of one pair over Unicode words."""
    return _f_score(unicode_words(reference), unicode_words(answer))
