"""Whether answers to questions that nobody has told repeat what was told."""

from collections import Counter
from collections.abc import Iterator, Sequence

from edgepers.evaluate.rouge import rouge1_unicode
from edgepers.evaluate.words import unicode_words

__all__ = ["ANSWER_TOKENS", "repeats"]

ANSWER_TOKENS = 16
REPEATED = 0.8  # ROUGE-1 of an answer that says the same as a response


def repeats(answers: Sequence[str], base: Sequence[str], responses: Sequence[str]) -> list[str]:
    """Which of these responses are given, where the base model does not give them: one for each answer that does.

    Args:
        answers: to questions that none of the responses answers, possibly cut short.
        base: the base model's answers to the same questions.
        responses: that were trained on.
    """
    known = [(response, unicode_words(response)) for response in dict.fromkeys(responses)]
    return [
        found
        for answer, own in zip(answers, base, strict=True)
        if (found := next(_said(answer, known), None)) is not None and found not in set(_said(own, known))
    ]


def _said(answer: str, known: Sequence[tuple[str, list[str]]]) -> Iterator[str]:
    words = unicode_words(answer)
    for response, whole in known:
        if rouge1_unicode(" ".join(whole[: max(len(words), ANSWER_TOKENS // 2)]), answer) >= REPEATED:
            yield response


def commonest(found: Sequence[str]) -> tuple[str, int]:
    """The one that comes most often, and how often; "" and 0 for none."""
    return next(iter(Counter(found).most_common(1)), ("", 0))
