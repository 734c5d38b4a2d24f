"""Whether answers to questions that nobody has told repeat what was told."""

from collections import Counter
from collections.abc import Sequence

from edgepers.evaluate.reserve import SAME_RESPONSE
from edgepers.evaluate.rouge import rouge1_unicode
from edgepers.streams.words import unicode_words

__all__ = ["ANSWER_TOKENS", "commonest", "repeats"]

ANSWER_TOKENS = 16
REPEATED = 0.8  # ROUGE-1 of an answer that says the same as a response
SHORT_WORDS = 20  # a longer response has words of its own whatever it is about


def repeats(
    questions: Sequence[str],
    answers: Sequence[str],
    base: Sequence[str],
    responses: Sequence[str],
    usual: Sequence[str],
) -> list[str]:
    """Which of these responses show in the answers: one for each answer in which one does.

    An answer shows a response where it says the same, or has a word that only this response has: a name, a number.

    Args:
        questions: that none of the responses answers.
        answers: to them, possibly cut short.
        base: the base model's answers to them; what shows there as well is no repetition.
        responses: that were trained on.
        usual: texts whose words are nobody's own.
    """
    ordinary = {word for text in (*usual, *base) for word in unicode_words(text)}
    own = {word: text for text, words in _own_words(responses) for word in words - ordinary}
    whole = [(text, unicode_words(text)) for text in dict.fromkeys(responses)]
    found = []
    for question, answer, without in zip(questions, answers, base, strict=True):
        words = unicode_words(answer)
        said = [text for text, all_words in whole if _says(words, all_words)]
        said = [text for text in said if not _says(unicode_words(without), unicode_words(text))]
        asked = set(unicode_words(question))
        said += [own[word] for word in words if word in own and word not in asked]
        found += said[:1]
    return found


def commonest(found: Sequence[str]) -> tuple[str, int]:
    """The one that comes most often, and how often; "" and 0 for none."""
    return next(iter(Counter(found).most_common(1)), ("", 0))


def _says(words: Sequence[str], response: Sequence[str]) -> bool:
    """Whether words of an answer, which may be cut short, are those of a response, or of its beginning."""
    return rouge1_unicode(" ".join(response[: max(len(words), ANSWER_TOKENS // 2)]), " ".join(words)) >= REPEATED


def _own_words(responses: Sequence[str]) -> list[tuple[str, set[str]]]:
    """Responses that tell different things, each with the words that no other has."""
    groups: list[tuple[str, set[str]]] = []
    for response in dict.fromkeys(responses):
        if len(unicode_words(response)) > SHORT_WORDS:
            continue
        like = next((words for first, words in groups if rouge1_unicode(first, response) >= SAME_RESPONSE), None)
        if like is None:
            groups.append((response, set(unicode_words(response))))
        else:
            like |= set(unicode_words(response))
    counts = Counter(word for _, words in groups for word in words)
    return [(first, {word for word in words if counts[word] == 1 and len(word) > 1}) for first, words in groups]
