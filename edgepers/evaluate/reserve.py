"""Which annotated sets are held back from training: only what is learned from another set all the same."""

from collections import Counter
from collections.abc import Sequence

from edgepers.hashing import hash_text
from edgepers.state.records import KeptSet
from edgepers.streams.words import unicode_words, word_f1

__all__ = ["LEAST_RESERVE", "MOST_RESERVE", "split_reserve"]

MOST_RESERVE = 32
LEAST_RESERVE = 8
SAME_RESPONSE = 0.6  # ROUGE-1 of two responses that tell the same


def split_reserve(annotated: Sequence[KeptSet]) -> tuple[list[KeptSet], list[KeptSet]]:
    """Split annotated sets into those to train on and those in reserve, the newest 32 at most.

    Held back is of the sets that a fifth of all hashes falls on (of the id, or of the question where there is none)
    what an earlier set, which is trained on, has nearly the same response to: it asks for it in other words, and
    nothing that the owner has told only once is lost.
    """
    drawn = {kept.position for kept in annotated if hash_text(kept.id or kept.question) % 5 == 0}
    words = {kept.position: Counter(unicode_words(kept.wanted)) for kept in annotated}
    stay = [kept.position for kept in annotated if kept.position not in drawn]
    reserve: list[KeptSet] = []
    for kept in sorted(annotated, key=lambda kept: -kept.position):
        if len(reserve) == MOST_RESERVE:
            break
        if kept.position in drawn and any(
            other < kept.position and word_f1(words[other], words[kept.position]) >= SAME_RESPONSE for other in stay
        ):
            reserve.append(kept)
    held = {kept.position for kept in reserve}
    return [kept for kept in annotated if kept.position not in held], reserve[::-1]
