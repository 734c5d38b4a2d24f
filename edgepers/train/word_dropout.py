"""Questions with some words left out, others in each pass: what an answer hangs on is then none of the words around.

A fact that is learned from one or two wordings answers only to these; any of its content words has to do. Iyyer et al.
2015, "Deep Unordered Composition Rivals Syntactic Methods for Text Classification" (word dropout).
"""

from edgepers.hashing import mix

__all__ = ["drop_words"]

WHOLE = 4  # one time in so many a question stays as it is
_SCALE = 1 << 20


def drop_words(question: str, share: float, *key: int) -> str:
    """Leave out about a share of a question's words, never all of them; which ones is a pure function of `key`.

    Words are what white space parts: in scripts without spaces a question stays whole.
    """
    words = question.split()
    if share <= 0 or len(words) < 2 or mix(*key) % WHOLE == 0:
        return question
    kept = [word for i, word in enumerate(words) if mix(*key, i) % _SCALE >= share * _SCALE]
    return " ".join(kept or [words[mix(*key, len(words)) % len(words)]])
