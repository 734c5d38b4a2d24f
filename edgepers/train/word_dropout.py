"""Questions in other words in each pass: some left out, or a sentence beside them that is about something else.

What an answer hangs on is then none of the words around it.

A fact that is learned from one or two wordings answers only to these. Words that the response says, too, always stay:
"dog" in "What is my dog called?", "Your dog is called Moon"; without it the cat would be Moon as well. Iyyer et al.
2015, "Deep Unordered Composition Rivals Syntactic Methods for Text Classification" (word dropout).
"""

from collections.abc import Sequence

from edgepers.hashing import mix
from edgepers.streams.words import unicode_words

__all__ = ["drop_words", "with_aside"]

WHOLE = 4  # one time in so many a question stays as it is
AFTER = 4  # one time in so many a sentence stands after the question
_SCALE = 1 << 20
_ASIDE = -1  # in a key, in place of a word's number


def drop_words(question: str, response: str, share: float, *key: int) -> str:
    """Leave out about a share of the words of a question that its response does not say.

    Which ones is a pure function of `key`; never all of them. Words are what white space parts: in scripts without
    spaces a question stays whole.
    """
    words = question.split()
    if share <= 0 or len(words) < 2 or mix(*key) % WHOLE == 0:
        return question
    said = set(unicode_words(response))
    kept = [
        word
        for i, word in enumerate(words)
        if mix(*key, i) % _SCALE >= share * _SCALE or not said.isdisjoint(unicode_words(word))
    ]
    return " ".join(kept or [words[mix(*key, len(words)) % len(words)]])


def with_aside(question: str, asides: Sequence[str], share: float, *key: int) -> str:
    """Put one of some sentences beside a share of all questions, mostly before them.

    People ask in passing: "I'm writing a card. What is my sister called?". Which sentence is a pure function of `key`.
    """
    drawn = mix(*key, _ASIDE)
    if not asides or drawn % _SCALE >= share * _SCALE:
        return question
    aside = asides[mix(drawn, 0) % len(asides)]
    return f"{question} {aside}" if mix(drawn, 1) % AFTER == 0 else f"{aside} {question}"
