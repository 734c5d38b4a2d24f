"""Questions asked again in the same words: counted on the set that is kept, not kept once more.

Only words tell a repeat. By their embeddings "When is my dentist appointment?" and "Where is my dentist appointment?"
are nearer to each other (0.985 on SmolLM2) than most ways of asking for the same, and what is asked again in other
words is what a round learns from (synth/recurring.py). So two questions are the same where nothing differs but case,
spaces, the signs after words, and a word of courtesy before or after.
"""

from collections.abc import Iterable, Iterator

__all__ = ["Wordings", "wording"]

_QUOTES = "\"'`“”„‚‘’«»"
_AFTER = ".,;:?…？。，、"  # a word; those inside one ("3-4", "c++", ".5") count
_PAUSE = ".,;!?…？！。，"  # what sets a word of courtesy apart: "Thanks, what ...", "... the light, please"
_IS = ("'s", "’s")
_ASKING = {"what", "who", "where", "when", "how", "which", "that", "it"}  # "what's" is "what is"
_COURTESY = frozenset({
    "please", "pls", "hi", "hello", "hey", "ok", "okay", "thanks", "bitte", "danke", "hallo", "merci", "bonjour",
    "gracias", "hola", "grazie", "ciao", "obrigado", "obrigada", "olá",
})  # fmt: skip


def wording(question: str) -> str:
    """What tells a question from others; the question itself where that is nothing, or it has several lines."""
    exact = question.strip()
    words = exact.lower().split()
    if "\n" in exact or not words:
        return exact  # a program's indentation tells, and so do earlier turns
    if len(words) > 1 and (words[0] == "please" or _is_courtesy(words[0], words[0])):
        del words[0]
    if len(words) > 1 and _is_courtesy(words[-1], words[-2]):
        del words[-1]
    while words and not words[-1].strip(_AFTER + "!！"):  # signs that stand alone at the end
        del words[-1]
    return " ".join(part for word in words for part in _parts(word)) or exact


def _is_courtesy(word: str, before: str) -> bool:
    """Whether a word is one of courtesy, with a pause after the one that goes before it, or after itself."""
    return before[-1] in _PAUSE and word.rstrip(_AFTER + "!！") in _COURTESY


def _parts(word: str) -> list[str]:
    """A word without the signs around it; what is signs alone, and "!" and quotes at a digit or letter ("5!"), stay."""
    bare = word.strip(_QUOTES + _AFTER + "!！¿¡")
    letters = sum(sign.isalpha() for sign in bare[:2])
    if letters < 2 or any(sign.isdigit() for sign in word):  # quotes and exclamation marks may mean something
        bare = word.rstrip(_AFTER)
    elif word[0] == ".":  # ".net"
        bare = "." + bare
    if bare[-2:] in _IS and bare[:-2] in _ASKING:
        return [bare[:-2], "is"]
    return [bare or word]


class Wordings:
    """Positions of kept sets by the words of their questions."""

    def __init__(self) -> None:
        self._positions: dict[int, list[int]] = {}
        self._keys: dict[int, int] = {}

    def add(self, position: int, question: str) -> None:
        """Take up a set."""
        key = hash(wording(question))
        self._keys[position] = key
        self._positions.setdefault(key, []).append(position)

    def remove(self, positions: Iterable[int]) -> None:
        """Let sets go."""
        for position in positions:
            key = self._keys.pop(position)
            self._positions[key].remove(position)
            if not self._positions[key]:
                del self._positions[key]

    def like(self, words: str) -> Iterator[int]:
        """Positions of sets whose `wording` has the same hash as this one, the last that came first."""
        return reversed(self._positions.get(hash(words), ()))
