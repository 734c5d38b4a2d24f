"""Made-up buffers and newcomers for the tests of policies."""

from dataclasses import fields, replace

import numpy as np
from hypothesis import strategies as st

from edgepers.select.lexicon import GENERAL
from edgepers.select.policy import Kept, Newcomer, Room

WIDTH = 64


def kept(n: int, seed: int = 0, annotated: tuple[int, ...] = (), levels: int = 4096) -> Kept:
    """A buffer of n sets; few `levels` make many ties."""
    rng = np.random.default_rng(seed)
    flags = np.zeros(n, bool)
    flags[list(annotated)] = True
    return Kept(
        position=np.sort(rng.choice(1000, n, replace=False)).astype(np.int64),
        entropy=rng.integers(0, levels, n),
        domain_score=rng.integers(0, max(levels // 10, 1), n),
        dissimilarity=rng.integers(0, 2 * levels, n),
        annotated=flags,
        embedding=rng.integers(-60, 60, (n, WIDTH)).astype(np.int8),
        characters=rng.integers(2, 2 + levels, n),
        stored_bytes=rng.integers(300, 300 + levels, n),
        loss=rng.integers(-1, 5 * levels, n),
        repeats=rng.integers(0, 3, n),
    )


def without(buffer: Kept, rows: list[int]) -> Kept:
    """The buffer after these rows have left."""
    arrays = [f.name for f in fields(Kept) if f.name not in ("pairs", "likeness", "known_products")]
    return replace(
        buffer,
        pairs=None,
        likeness=None,
        known_products=None,
        **{name: np.delete(getattr(buffer, name), rows, axis=0) for name in arrays},
    )


def room(must_leave: int, buffer: Kept, seed: int = 5, refused: bool = True) -> Room:
    """Room that so many sets must make, whichever they are."""

    def needed(rows):
        return must_leave if len(rows) >= must_leave else None

    return Room(seed=seed, refused_before=refused, needed=needed, protected=buffer.annotated)


def newcomer(**values) -> Newcomer:
    """A set that comes at position 2000, of middling scores."""
    given = {
        "position": 2000,
        "entropy": 2500,
        "domain_score": 200,
        "dissimilarity": 5000,
        "domain": "food",
        "embedding": np.zeros(WIDTH, np.int8),
        "characters": 400,
        "stored_bytes": 600,
        "loss": 9000,
    }
    return Newcomer(**(given | values))


@st.composite
def situations(draw) -> tuple[Newcomer, Kept, int]:
    """A newcomer, a buffer, and how many sets must leave.

    With ties, annotated sets, and buffers of every small size.
    """
    levels = draw(st.sampled_from([2, 5, 4096]))
    n = draw(st.integers(0, 90))
    buffer = kept(n, draw(st.integers(0, 50)), levels=levels)
    buffer.annotated[:] = np.random.default_rng(draw(st.integers(0, 50))).random(n) < draw(
        st.sampled_from([0, 0.2, 0.9, 1])
    )
    rng = np.random.default_rng(draw(st.integers(0, 50)))
    new = newcomer(
        entropy=int(rng.integers(0, levels + 1)),
        domain_score=int(rng.integers(0, levels // 10 + 1)),
        dissimilarity=int(rng.integers(0, 2 * levels + 1)),
        domain=draw(st.sampled_from(["food", GENERAL])),
        characters=int(rng.integers(2, 3 + levels)),
        stored_bytes=int(rng.integers(300, 301 + levels)),
        loss=int(rng.integers(-1, 5 * levels)),
        embedding=rng.integers(-60, 60, WIDTH).astype(np.int8),
    )
    return new, buffer, draw(st.integers(0, 5))
