"""Sentences that stand beside a question in training, in the owner's language."""

import json
from collections.abc import Sequence

from edgepers.assets import aside_sentences
from edgepers.rounds.untold import untold_rows
from edgepers.streams.words import unicode_words

__all__ = ["asides_for"]

LEAST = 0.3  # of an owner's words that a language's packaged questions have, where it is the owner's


def asides_for(questions: Sequence[str]) -> list[str]:
    """Packaged sentences in the language of an owner's questions: English or German; in another one there are none.

    The language is the one whose packaged questions have most of the words, and at least `LEAST` of them.

    Args:
        questions: of all corrected sets.
    """
    known: dict[str, set[str]] = {}
    for row in untold_rows():
        known.setdefault(row["language"], set()).update(unicode_words(row["question"]))
    words = [word for question in questions for word in unicode_words(question)]
    share = {language: sum(word in some for word in words) / max(len(words), 1) for language, some in known.items()}
    language = max(share, key=lambda name: share[name])
    if share[language] < LEAST:
        return []
    rows = map(json.loads, aside_sentences().read_text(encoding="utf-8").splitlines())
    return [row["text"] for row in rows if row["language"] == language]
