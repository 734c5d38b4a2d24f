"""Endless made-up conversation and an encoder without a model, for measuring a selector alone."""

import random
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from edgepers.select.lexicon import load_lexicons
from edgepers.streams import Arrival, Cursor, DialogueSet

__all__ = ["PoolEncoder", "arrivals", "weakened"]

_TOPIC_WORDS = 0.25  # share of words from the lexicon of a set's topic
_WEAK = "weak "
_FILLER = [
    f"{a}{b}{c}"
    for a in ("ba", "ke", "lo", "mi", "nu")
    for b in ("ra", "se", "ti", "vo", "zu")
    for c in ("", "d", "l", "n", "st")
]


class PoolEncoder:
    """An encoder without a model.

    Hidden states are a stretch of one fixed random matrix, chosen by the text, or one row again and again where it is
    weakened.

    `seconds` is what that took.
    """

    identity = "synthetic"

    def __init__(self, hidden_size: int = 256, tokens: int = 48) -> None:
        self.hidden_size = hidden_size
        self.seconds = 0.0
        self._tokens = tokens
        self._pool = torch.randn(8192, hidden_size, generator=torch.Generator().manual_seed(0)) + 0.5

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """See `Encoder.encode`."""
        start = time.perf_counter()
        starts = [zlib.crc32(text.encode()) % (len(self._pool) - self._tokens) for text in texts]
        flat = self._pool[:1].expand(self._tokens, -1)
        hidden = torch.cat(
            [
                flat if t.startswith(_WEAK) else self._pool[a : a + self._tokens]
                for t, a in zip(texts, starts, strict=True)
            ]
        )
        offsets = torch.arange(0, self._tokens * len(texts) + 1, self._tokens)
        self.seconds += time.perf_counter() - start
        return hidden, offsets


def weakened(arrival: Arrival) -> Arrival:
    """The set with a text whose entropy is 0, so that it beats no other."""
    return replace(arrival, dialogue=replace(arrival.dialogue, question=_WEAK + arrival.dialogue.question))


def arrivals(seed: int = 0) -> Iterator[Arrival]:
    """Sets of 30 to 160 words, each about one of the packaged domains or none."""
    rng = random.Random(seed)
    topics = [sorted(lexicon.words) for lexicon in load_lexicons().lexicons]
    number = 0
    while True:
        topic = rng.choice(topics) if rng.random() < 0.7 else _FILLER
        question, response = (
            " ".join(
                rng.choice(topic if rng.random() < _TOPIC_WORDS else _FILLER) for _ in range(rng.randrange(15, 80))
            )
            for _ in range(2)
        )
        yield Arrival(
            DialogueSet(question, response, None, str(number)), Cursor(number, number), Cursor(number + 1, number + 1)
        )
        number += 1
