"""Words of any script, as ROUGE-1 counts them inside the product."""

import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["rare_words", "unicode_words", "word_f1", "word_vectors"]

_EVERYWHERE = 0.5  # share of some texts from which on a word tells nothing
RARE = 0.08  # share of some texts up to which a word that they have says what they are about

# Scripts that put no spaces between words: each letter, with the marks on it, counts as one.
_SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),
    (0x3040, 0x312F),  # kana, Bopomofo
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Chinese characters and their extensions
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),
)
_EMOJI_FROM = 0x2600  # the signs before it (°, ©, arrows) are no more words than a comma is
_JOINERS = "\u200c\u200d"  # inside words of Persian and of Indian scripts


def _is_spaceless(letter: str) -> bool:
    point = ord(letter)
    return any(first <= point <= last for first, last in _SPACELESS)


def unicode_words(text: str) -> list[str]:
    """Split a text into lower-case words.

    A word is letters and digits with their marks; a character of a script without spaces; an emoji.

    Compatibility forms are unified first (full-width letters, half-width kana, Arabic presentation forms). Marks belong
    to
    the letter before them: Hindi's vowel signs would otherwise cut every word to pieces.
    """
    words: list[str] = []
    attached = goes_on = False  # whether the last sign was of the last word, and whether a next letter would be
    for sign in unicodedata.normalize("NFKC", text).lower():
        if attached and (unicodedata.category(sign)[0] == "M" or sign in _JOINERS):
            words[-1] += sign
        elif sign.isalnum():
            apart = _is_spaceless(sign)
            if goes_on and not apart:
                words[-1] += sign
            else:
                words.append(sign)
            attached, goes_on = True, not apart
        else:
            if ord(sign) >= _EMOJI_FROM and unicodedata.category(sign) == "So":
                words.append(sign)
            attached = goes_on = False
    return words


def rare_words(counts: Mapping[str, int], texts: int) -> set[str]:
    """Words that few of so many texts have, and so tell what a text is about; `counts`: how many have each."""
    most = max(RARE * texts, 2)
    return {word for word, count in counts.items() if count <= most}


def word_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors [n, words] of n texts, each of their words by how rare it is among them (tf-idf).

    Their products are cosines; a text without a word of its own has zeros.
    """
    words = [Counter(unicode_words(text)) for text in texts]
    counts = Counter(word for one in words for word in one)
    rare = sorted(word for word, count in counts.items() if count < max(_EVERYWHERE * len(words), 2))
    column = {word: i for i, word in enumerate(rare)}
    vectors = np.zeros((len(words), len(column)), np.float32)
    for row, one in enumerate(words):
        for word in one:
            if word in column:
                vectors[row, column[word]] = math.log((len(words) + 1) / counts[word])
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(length > 0, length, 1)
    return vectors


def word_f1(one: Counter[str], other: Counter[str]) -> float:
    """F1 of the words of two texts, in any order, as ROUGE-1 has it; 0 where neither has a word."""
    words = one.total() + other.total()
    return 2 * (one & other).total() / words if words else 0.0
