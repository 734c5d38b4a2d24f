"""Variations in the owner's own words: kept questions that ask again what a corrected question asked.

A small model paraphrases badly (of 39 attempts of SmolLM2-135M none could be used), but people ask for the same thing
in many ways, and the buffer keeps them. A correction answers all of them. Which ones ask the same is told by words:

- the topic, the rare words that a corrected question shares with its answer ("sister" in "What is my sister's name?",
  "Your sister is called Alice"), has to be in the other question, whole;
- by its words and by its topic embedding (model/topics.py) the other question has to be like that one, and clearly less
  like every question with another answer ("Who is my sister's doctor?").

Of these the base model takes the ones after which it finds the answer about as likely as after the corrected question.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from edgepers.model.language_model import LanguageModel
from edgepers.streams.words import rare_words, unicode_words, word_vectors

__all__ = ["asked_again", "recurring"]

LEAST_LIKELY = -0.4  # nats a token that an answer may lose after another question
CLEARLY = 0.2  # by so much, of two cosines, a question is more like one answer's than any other's


def recurring(
    corrected: Sequence[tuple[str, str]], others: Sequence[str], topics: NDArray[np.float32] | None = None
) -> list[list[int]]:
    """Which of the other questions ask for the same as each corrected one.

    A question that is as much like those of two different answers is given to neither.

    Args:
        corrected: n of (question, wanted response).
        others: m questions that nobody has judged.
        topics: unit or zero rows [n + m, width], of the corrected questions first; None: the words alone tell.

    Returns:
        For each corrected question, indices into `others`, the most alike first.
    """
    found: list[list[int]] = [[] for _ in corrected]
    if not corrected or not others:
        return found
    count = len(corrected)
    questions = [*(question for question, _ in corrected), *others]
    vectors = word_vectors(questions)
    like = (vectors[count:] @ vectors[:count].T).clip(0)  # [m, n]
    if topics is not None:
        like += topics[count:] @ topics[:count].T
    words = [frozenset(unicode_words(question)) for question in questions]
    counts = Counter(word for one in words for word in one)
    rare = rare_words(counts, len(questions))
    topical = [words[j] & frozenset(unicode_words(response)) & rare for j, (_, response) in enumerate(corrected)]
    answers = np.array([hash(response) for _, response in corrected])
    rival = np.where(answers == answers[like.argmax(1)][:, None], 0, like).max(1)
    for i in np.argsort(rival - like.max(1), kind="stable"):
        best = int(like[i].argmax())
        clear = like[i, best] - rival[i] >= CLEARLY
        if clear and topical[best] and topical[best] <= words[count + i]:
            found[best].append(int(i))
    return found


def asked_again(
    llm: LanguageModel, corrected: Sequence[tuple[str, str]], others: Sequence[str], most: int
) -> list[tuple[int, str]]:
    """Other questions that are learned with a correction's answer.

    Args:
        llm: asked without its adapter.
        corrected: (question, wanted response).
        others: questions that nobody has judged.
        most: for each correction.

    Returns:
        Indices into `others`, with the response, the most alike first.
    """
    if not corrected or not others or not most:
        return []
    topics = llm.topics([*(question for question, _ in corrected), *others])
    found = recurring(corrected, others, topics)
    candidates = [(i, corrected[j][1]) for rank in zip_longest(*found) for j, i in enumerate(rank) if i is not None]
    if not candidates:
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
