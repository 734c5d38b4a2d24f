"""Variations in the owner's own words: kept questions that ask again what a corrected question asked.

A small model paraphrases badly (of 39 attempts of SmolLM2-135M none could be used), but people ask for the same thing
in many ways, and the buffer keeps them. A correction answers all of them. Which ones ask the same is told by words:

- the topic, the rare words that a corrected question shares with its answer ("sister" in "What is my sister's name?",
  "Your sister is called Alice"), has to be in the other question, whole;
- the other question may bring in new words, but none that recurs in other questions of the owner's: that one would be
  about something else ("Who is my sister's doctor?").

Of these the base model takes the ones after which it finds the answer about as likely as after the corrected question.
"""

from collections import Counter
from collections.abc import Sequence

from edgepers.model.language_model import LanguageModel
from edgepers.streams.words import rare_words, unicode_words

__all__ = ["asked_again", "recurring"]

LEAST_LIKELY = -0.4  # nats a token that an answer may lose after another question
RECURS = 3  # questions from which on a word is a topic of the owner's


def recurring(corrected: Sequence[tuple[str, str]], others: Sequence[str]) -> list[list[int]]:
    """Which of the other questions ask for the same as each corrected one.

    A question that would do for two different answers is given to neither.

    Args:
        corrected: (question, wanted response).
        others: questions that nobody has judged.

    Returns:
        For each corrected question, indices into `others`.
    """
    theirs = [frozenset(unicode_words(question)) for question in others]
    asked = [frozenset(unicode_words(question)) for question, _ in corrected]
    answered = [frozenset(unicode_words(response)) for _, response in corrected]
    counts = Counter(word for one in (*asked, *theirs) for word in one)
    rare = rare_words(counts, len(asked) + len(theirs))
    topical = {word for word in rare if counts[word] >= RECURS}
    topics = [question & response & rare for question, response in zip(asked, answered, strict=True)]
    found: list[list[int]] = [[] for _ in corrected]
    for i, words in enumerate(theirs):
        fits = [
            j
            for j, topic in enumerate(topics)
            if topic and topic <= words and not (words & topical) - asked[j] - answered[j]
        ]
        best = max((len(topics[j]) for j in fits), default=0)
        fits = [j for j in fits if len(topics[j]) == best]
        if len({corrected[j][1] for j in fits}) == 1:
            for j in fits:
                found[j].append(i)
    return found


def asked_again(
    llm: LanguageModel, corrected: Sequence[tuple[str, str]], others: Sequence[str], most: int
) -> list[tuple[int, str]]:
    """Other questions that are learned with a correction's answer.

    Args:
        llm: asked without its adapter.
        corrected: (question, wanted response).
        others: questions that nobody has judged, the oldest first, who come first.
        most: for each correction.

    Returns:
        Indices into `others`, with the response.
    """
    found = recurring(corrected, others)
    candidates = sorted({(i, wanted) for (_, wanted), some in zip(corrected, found, strict=True) for i in some})
    if not candidates or not most:
        return []
    own: dict[str, float] = {}
    for (_, wanted), loss in zip(corrected, llm.losses(corrected, adapter=False), strict=True):
        own[wanted] = max(loss, own.get(wanted, 0.0))
    losses = llm.losses([(others[i], wanted) for i, wanted in candidates], adapter=False)
    room = Counter({wanted: most * count for wanted, count in Counter(wanted for _, wanted in corrected).items()})
    again = []
    for (i, wanted), loss in zip(candidates, losses, strict=True):
        if own[wanted] - loss >= LEAST_LIKELY and room[wanted] > 0:
            room[wanted] -= 1
            again.append((i, wanted))
    return again
