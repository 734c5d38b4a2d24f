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
_PAUSE = ".,;:!?…-–"  # what sets a word of courtesy apart: "Thanks, what ...", "... the light, please"
_IS = ("'s", "’s")
_ASKING = {"what", "who", "where", "when", "how", "which", "that", "it"}  # "what's" is "what is"
_COURTESY = frozenset({
    "please", "pls", "hi", "hello", "hey", "ok", "okay", "thanks", "bitte", "danke", "hallo", "merci", "bonjour",
    "gracias", "hola", "grazie", "ciao", "obrigado", "obrigada", "olá",
})  # fmt: skip


def wording(question: str) -> str:
    """What tells a question from others; the question itself where that is nothing."""
    words = question.casefold().split()
    if len(words) > 1 and (words[0] == "please" or _is_courtesy(words[0], words[0])):
        del words[0]
    if len(words) > 1 and _is_courtesy(words[-1], words[-2]):
        del words[-1]
    return " ".join(part for word in words for part in _parts(word)) or question.strip()


def _is_courtesy(word: str, before: str) -> bool:
    """Whether a word is one of courtesy, with a pause after the one that goes before it, or after itself."""
    return before[-1] in _PAUSE and word.rstrip(_AFTER + "!-–") in _COURTESY


def _parts(word: str) -> list[str]:
    """A word without the signs around it; after a digit, "!" and quotes mean something ("5!", "6'")."""
    bare = word.lstrip(_QUOTES + "¿¡").rstrip(_AFTER)
    while bare and not any(sign.isdigit() for sign in bare) and bare[-1] in _QUOTES + _AFTER + "!！":
        bare = bare[:-1]
    if bare[-2:] in _IS and bare[:-2] in _ASKING:
        return [bare[:-2], "is"]
    return [bare] if bare else []


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

    def like(self, question: str) -> Iterator[int]:
        """Positions of sets whose question has the same hash, the last that came first."""
        return reversed(self._positions.get(hash(wording(question)), ()))
