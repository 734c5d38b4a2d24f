import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepers.select.index import Index, on_grid
from edgepers.state.embedding import scale
from edgepers.state.records import KeptSet
from edgepers.streams import Cursor

WIDTH = 128


def make(position: int, domain: str = "a") -> KeptSet:
    vector = np.random.default_rng(position).integers(-127, 128, WIDTH).astype(np.int8)
    return KeptSet(position, str(position), "q", "r", None, domain, 0.5, 0.1, vector, Cursor())


def slow_dissimilarity(vector: np.ndarray, others: list[np.ndarray]) -> float:
    if not others:
        return 1.0
    return float(
        np.mean([1 - vector.astype(np.float64) @ other.astype(np.float64) / scale(WIDTH) ** 2 for other in others])
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from("abc"), st.booleans()), max_size=60))
def test_dissimilarities_equal_a_slow_reference_after_any_adds_and_removes(steps):
    index, kept = Index(WIDTH, []), {}
    for position, domain, add in steps:
        if add and position not in kept:
            kept[position] = make(position, domain)
            index.add(kept[position])
        elif not add:
            index.remove([position])
            kept.pop(position, None)
    assert index.kept().position.tolist() == list(kept)
    slow = [
        slow_dissimilarity(k.embedding, [o.embedding for o in kept.values() if o is not k and o.domain == k.domain])
        for k in kept.values()
    ]
    assert index.kept().dissimilarity.tolist() == on_grid(np.array(slow)).tolist()
    new = make(999, "b")
    assert index.dissimilarity_of(new.embedding, "b") == pytest.approx(
        slow_dissimilarity(new.embedding, [o.embedding for o in kept.values() if o.domain == "b"]), abs=1e-12
    )
