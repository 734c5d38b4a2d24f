"""Questions about what the owner has not told, to be learned as such.

Without them a small model that was taught the dog's name gives it to the cat. Zhang et al. 2024, "R-Tuning: Instructing
Large Language Models to Say 'I Don't Know'".
"""

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import islice

from edgepers.assets import untold_questions
from edgepers.hashing import hash_text, mix
from edgepers.streams.words import unicode_words

__all__ = ["MOST", "near_misses", "untold_asked", "untold_beside"]

MOST = 24  # questions of one round: the most alike, several times each, rather than many once
ASKED = 12  # by the guard, of those and as many again of the others
THINGS = 8  # put in place of what one question asks about
ALIKE = 12
COMMON = 8  # questions from which on a word is none that names a thing
_OWN = re.compile(r"\b(?:my|our|mein\w*|unser\w*)\b", re.IGNORECASE)
_DETERMINER = re.compile(r"\b(?:my|our|the|mein\w*|unser\w*|der|die|das|dem|den)\b", re.IGNORECASE)
_WORD = re.compile(r" ([^\W\d_]+)")
TOLD = 0.5  # of a question's weight, in words that one of the owner's has too: that is told


def untold_beside(told: Sequence[str], most: int = MOST) -> list[tuple[str, str]]:
    """(question, response) of packaged questions that no question of the owner's asks, the most alike first.

    Words weigh by how rare they are, so that what a question is about decides whether it has been told, and the
    owner's language and manner of asking which ones are taken.

    Args:
        told: the questions of all corrected sets.
        most: pairs, at most.
    """
    pairs = _packaged()
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


def near_misses(told: Sequence[str], most: int, seed: int) -> list[tuple[str, str]]:
    """(question, response) of the owner's own questions with another thing in place of what they ask about.

    "What is my elder brother called?" becomes "What is my plumber called?": what is next to a told fact, and is answered
    with it first. Counterfactual augmentation (Kaushik et al. 2020, "Learning the Difference that Makes a Difference
    with Counterfactually-Augmented Data"). The things come from the packaged questions that ask most alike, so that
    their kind and language fit. English and German; questions in other languages have none.

    Args:
        told: the questions of all corrected sets.
        most: pairs, at most.
        seed: of which ones.
    """
    rows = _packaged()
    words = [frozenset(unicode_words(question)) for question, _ in rows]
    theirs = frozenset(word for question in told for word in unicode_words(question))
    counts = Counter(word for one in (*words, *map(frozenset, map(unicode_words, told))) for word in one)
    things = [_things(question, counts, theirs) for question, _ in rows]
    made: dict[str, str] = {}
    for number, question in enumerate(dict.fromkeys(told)):
        places = [match.span() for match in _spans(question, counts)]
        if not places or not _OWN.search(question):
            continue
        own = frozenset(unicode_words(question))
        alike = sorted(range(len(rows)), key=lambda i: (-len(own & words[i]) / len(own | words[i]), i))
        choices = list(dict.fromkeys(thing for i in alike if own & words[i] for thing in things[i]))[:THINGS]
        for draw, thing in enumerate(choices):
            start, end = places[mix(seed, number, draw) % len(places)]
            made.setdefault(question[:start] + thing + question[end:], rows[alike[draw % ALIKE]][1])
    return sorted(made.items(), key=lambda pair: mix(seed, hash_text(pair[0])))[:most]


def _packaged() -> list[tuple[str, str]]:
    lines = untold_questions().read_text(encoding="utf-8").splitlines()
    return [(row["question"], row["response"]) for row in map(json.loads, lines)]


def _spans(question: str, counts: Mapping[str, int]) -> list[re.Match[str]]:
    """Where a question names a thing: its article or possessive with the words after it, up to a common one."""
    found = []
    for match in _DETERMINER.finditer(question):
        end = match.end()
        for word in islice(_WORD.finditer(question, end), 3):
            if word.start() != end or counts[word[1].lower()] >= COMMON:
                break
            end = word.end()
        if end > match.end():
            whole = re.compile(re.escape(question[match.start() : end])).match(question, match.start())
            if whole is not None:
                found.append(whole)
    return found


def _things(question: str, counts: Mapping[str, int], told: Collection[str]) -> list[str]:
    """"my plumber", "meine Tochter": what a packaged question names as the owner's, where the owner has not."""
    return [
        match[0][0].lower() + match[0][1:]
        for match in _spans(question, counts)
        if _OWN.match(match[0]) and not told & set(unicode_words(match[0])[1:])
    ]
