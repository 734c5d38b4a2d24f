"""Which part of a data set a question belongs to, for ever.

What is tuned is tuned on development, and test is left alone.
"""

from pathlib import Path

from edgepers.hashing import hash_text
from edgepers.streams import DialogueSet, read_dialogue_sets

__all__ = ["dialogue_sets", "split_of"]

_PARTS = ("stream", "stream", "stream", "development", "test")  # by a fifth of all hashes each


def split_of(question: str) -> str:
    """The part, "stream", "development" or "test": the same for the same words, whatever their case and spaces."""
    return _PARTS[hash_text(" ".join(question.lower().split())) % len(_PARTS)]


def dialogue_sets(file: Path, part: str) -> list[DialogueSet]:
    """Sets of one part that have a reference, in the order of their hashes."""
    sets = read_dialogue_sets(file, need_reference=True)
    chosen = {one.question: one for one in sets if one.reference and split_of(one.question) == part}
    return sorted(chosen.values(), key=lambda one: hash_text(one.question))
