import numpy as np
import pytest

from edgepers.select.embedding import scale
from edgepers.select.hashing import mix, mix_array
from edgepers.select.lexicon import GENERAL
from edgepers.select.policy import Kept, Newcomer, Room, fifo, kcenter, quality, random

WIDTH = 64


def kept(n: int, seed: int = 0, annotated: tuple[int, ...] = ()) -> Kept:
    rng = np.random.default_rng(seed)
    flags = np.zeros(n, bool)
    flags[list(annotated)] = True
    return Kept(
        position=np.sort(rng.choice(1000, n, replace=False)).astype(np.int64),
        entropy=rng.integers(0, 4096, n),
        domain_score=rng.integers(0, 400, n),
        dissimilarity=rng.integers(0, 8000, n),
        annotated=flags,
        embedding=rng.integers(-60, 60, (n, WIDTH)).astype(np.int8),
    )


def room(must_leave: int, kept: Kept, seed: int = 5, refused: bool = True) -> Room:
    def needed(rows):
        return must_leave if len(rows) >= must_leave else None

    return Room(seed=seed, refused_before=refused, needed=needed, protected=kept.annotated)


def newcomer(**values) -> Newcomer:
    given = {
        "position": 2000,
        "entropy": 2500,
        "domain_score": 200,
        "dissimilarity": 5000,
        "domain": "food",
        "embedding": np.zeros(WIDTH, np.int8),
    }
    return Newcomer(**(given | values))


def test_hashes_of_arrays_equal_hashes_of_numbers():
    positions = np.array([0, 1, 17, 2**40], np.int64)
    assert mix_array((3, 4), positions).tolist() == [mix(3, 4, int(p)) for p in positions]


@pytest.mark.parametrize("domain", ["food", GENERAL])
@pytest.mark.parametrize("must_leave", [1, 2, 5])
def test_quality_evicts_only_sets_beaten_in_every_score_in_hashed_order(domain, must_leave):
    stored = kept(40)
    new = newcomer(domain=domain)
    beaten = [
        i
        for i in range(40)
        if stored.entropy[i] < new.entropy
        and stored.dissimilarity[i] < new.dissimilarity
        and (domain == GENERAL or stored.domain_score[i] < new.domain_score)
    ]
    expected = sorted(beaten, key=lambda i: mix(5, 2000, int(stored.position[i])))[:must_leave]
    assert quality(new, stored, room(must_leave, stored)) == (expected if len(beaten) >= must_leave else None)


def test_quality_admits_freely_until_the_first_refusal_and_a_tie_is_not_lower():
    stored = kept(10)
    assert quality(newcomer(entropy=0), stored, room(0, stored, refused=False)) == []
    assert quality(newcomer(entropy=0), stored, room(0, stored)) is None
    level = Kept(stored.position, np.full(10, 7), np.full(10, 7), np.full(10, 7), stored.annotated, stored.embedding)
    assert quality(newcomer(entropy=7, domain_score=8, dissimilarity=8), level, room(1, level)) is None
    assert quality(newcomer(entropy=8, domain_score=8, dissimilarity=8), level, room(1, level)) is not None


def test_random_keeps_the_smallest_hashes():
    stored = kept(30)
    hashes = [mix(5, int(p)) for p in stored.position]
    for position in range(2000, 2040):
        mine = mix(5, position)
        larger = sorted((i for i in range(30) if hashes[i] > mine), key=lambda i: -hashes[i])
        assert random(newcomer(position=position), stored, room(2, stored)) == (larger[:2] if len(larger) >= 2 else None)


def test_fifo_evicts_the_oldest_but_annotated_sets_last():
    stored = kept(6, annotated=(0, 1))
    assert fifo(newcomer(), stored, room(2, stored)) == [2, 3]
    assert fifo(newcomer(), stored, room(5, stored)) == [2, 3, 4, 5, 0]
    assert fifo(newcomer(), stored, room(7, stored)) is None


def slow_kcenter(new: Newcomer, stored: Kept, must_leave: int) -> list[int] | None:
    def distance(a, b):
        return 1 - a.astype(np.float64) @ b.astype(np.float64) / scale(WIDTH) ** 2

    stay, gone = list(range(len(stored.position))), []
    while len(gone) < must_leave:
        if len(stay) < 2:
            return None
        closest, _, newer = min((distance(stored.embedding[i], stored.embedding[j]), i, j) for i in stay for j in stay if i < j)
        if not min(distance(new.embedding, stored.embedding[i]) for i in stay) > closest:
            return None
        stay.remove(newer)
        gone.append(newer)
    return gone


@pytest.mark.parametrize("must_leave", [1, 3])
@pytest.mark.parametrize("size", [0, 3, 60])
def test_kcenter_evicts_the_newer_of_the_closest_pair_while_the_newcomer_is_farther(must_leave, size):
    stored = kept(12)
    new = newcomer(embedding=np.random.default_rng(9).integers(-size, size + 1, WIDTH).astype(np.int8))
    assert kcenter(new, stored, room(must_leave, stored)) == slow_kcenter(new, stored, must_leave)
