from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepers.hashing import mix
from edgepers.select.density import density
from edgepers.select.lexicon import GENERAL
from edgepers.select.policies import named_policies
from edgepers.select.policy import UNKNOWN, Kept, Newcomer
from edgepers.select.rules import HALF_LIFE_PER_KEPT, aging, fifo, longest, loss, quality, random
from tests.select.policies import kept, newcomer, room, situations

SEED = 5


def taken(order: list[int], stored: Kept, must_leave: int) -> list[int] | None:
    """The slow meaning of every policy that puts rows in an order: unprotected ones, as few as make room.

    Protected ones follow only where no unprotected one is left out.
    """
    free = [row for row in order if not stored.annotated[row]]
    left_out = any(not stored.annotated[row] and row not in order for row in range(len(stored.position)))
    order = free if left_out else free + [row for row in order if stored.annotated[row]]
    return order[:must_leave] if len(order) >= must_leave else None


def slow_quality(new: Newcomer, stored: Kept, must_leave: int, per_kept: float = float("inf")) -> list[int] | None:
    beaten, half_life = [], per_kept * len(stored.position)
    for i in range(len(stored.position)):
        fading = 2.0 ** (-(new.position - int(stored.position[i])) / half_life)
        lower = [stored.entropy[i] * fading < new.entropy, stored.dissimilarity[i] * fading < new.dissimilarity]
        if new.domain != GENERAL:
            lower.append(stored.domain_score[i] * fading < new.domain_score)
        beaten += [i] * all(lower)
    if not beaten:
        return None
    return taken(sorted(beaten, key=lambda i: mix(SEED, new.position, int(stored.position[i]))), stored, must_leave)


def slow_random(new: Newcomer, stored: Kept, must_leave: int) -> list[int] | None:
    hashes = [mix(SEED, int(p)) for p in stored.position]
    mine = mix(SEED, new.position)
    return taken(sorted((i for i, h in enumerate(hashes) if h > mine), key=lambda i: -hashes[i]), stored, must_leave)


def slow_fifo(new: Newcomer, stored: Kept, must_leave: int) -> list[int] | None:
    return taken(sorted(range(len(stored.position)), key=lambda i: stored.position[i]), stored, must_leave)


def slow_longest(new: Newcomer, stored: Kept, must_leave: int) -> list[int] | None:
    shorter = [i for i in range(len(stored.position)) if stored.characters[i] < new.characters]
    return taken(sorted(shorter, key=lambda i: (stored.characters[i], i)), stored, must_leave)


def slow_loss(new: Newcomer, stored: Kept, must_leave: int) -> list[int] | None:
    lower = [i for i in range(len(stored.position)) if stored.loss[i] < new.loss]
    return taken(sorted(lower, key=lambda i: (stored.loss[i], i)), stored, must_leave)


def slow_density(new: Newcomer, stored: Kept, must_leave: int) -> list[int] | None:
    if must_leave == 0:
        return []
    sets = [
        (int(stored.entropy[i]), int(stored.domain_score[i]), int(stored.dissimilarity[i]), int(stored.stored_bytes[i]))
        for i in range(len(stored.position))
    ]
    sets.append((new.entropy, new.domain_score, new.dissimilarity, new.stored_bytes))

    def per_byte(one):
        value = sum(
            2 * sum(other[k] < one[k] for other in sets) + sum(other[k] == one[k] for other in sets) for k in range(3)
        )
        return value / one[3]

    lower = [i for i in range(len(sets) - 1) if per_byte(sets[i]) < per_byte(sets[-1])]
    return taken(sorted(lower, key=lambda i: (per_byte(sets[i]), i)), stored, must_leave)


SLOW = [
    (quality, slow_quality),
    (aging, partial(slow_quality, per_kept=HALF_LIFE_PER_KEPT)),
    (random, slow_random),
    (fifo, slow_fifo),
    (longest, slow_longest),
    (loss, slow_loss),
    (density, slow_density),
]


@pytest.mark.parametrize(("policy", "slow"), SLOW, ids=[policy.__name__ for policy, _ in SLOW])
@settings(max_examples=150)
@given(situation=situations())
def test_a_policy_decides_as_its_slow_meaning(policy, slow, situation):
    new, stored, must_leave = situation
    assert policy(new, stored, room(must_leave, stored, SEED)) == slow(new, stored, must_leave)


@pytest.mark.parametrize("name", named_policies())
def test_nobody_leaves_while_there_is_room(name):
    stored = kept(10)
    weak = newcomer(entropy=0, domain_score=0, dissimilarity=0, characters=0, loss=UNKNOWN)
    assert named_policies()[name](weak, stored, room(0, stored, refused=False)) == []


def test_quality_admits_freely_until_the_first_refusal_and_a_tie_is_not_lower():
    stored = kept(10)
    assert quality(newcomer(entropy=0), stored, room(0, stored, refused=False)) == []
    assert quality(newcomer(entropy=0), stored, room(0, stored)) is None
    level = replace(stored, entropy=np.full(10, 7), domain_score=np.full(10, 7), dissimilarity=np.full(10, 7))
    assert quality(newcomer(entropy=7, domain_score=8, dissimilarity=8), level, room(1, level)) is None
    assert quality(newcomer(entropy=8, domain_score=8, dissimilarity=8), level, room(1, level)) is not None


@pytest.mark.parametrize(("policy", "field"), [(longest, "characters"), (loss, "loss")])
def test_a_tie_is_not_lower(policy, field):
    level = replace(kept(10), **{field: np.full(10, 7)})
    assert policy(newcomer(**{field: 7}), level, room(1, level)) is None
    assert policy(newcomer(**{field: 8}), level, room(1, level)) == [0]


def test_a_newcomer_never_evicts_what_is_as_dense():
    level = replace(
        kept(10),
        entropy=np.full(10, 7),
        domain_score=np.full(10, 7),
        dissimilarity=np.full(10, 7),
        stored_bytes=np.full(10, 600),
    )
    same = newcomer(entropy=7, domain_score=7, dissimilarity=7)
    assert density(same, level, room(1, level)) is None
    assert density(replace(same, stored_bytes=599), level, room(1, level)) == [0]


@given(st.integers(1, 4000), st.integers(1, 4095))
def test_a_set_that_nothing_beats_now_is_beaten_when_its_scores_have_faded(half_life, score):
    old = replace(
        kept(1),
        position=np.zeros(1, np.int64),
        **{k: np.full(1, 4096) for k in ("entropy", "domain_score", "dissimilarity")},
    )

    def at(position):
        new = newcomer(position=position, entropy=score, domain_score=score, dissimilarity=score)
        return aging(new, old, room(1, old), half_life)

    fades_at = int(np.ceil(half_life * np.log2(4096 / score)))
    assert at(max(fades_at - 1, 0)) is None
    assert at(fades_at + 1) == [0]


def test_unmeasured_losses_leave_first():
    stored = replace(kept(4), loss=np.array([5, UNKNOWN, 3, UNKNOWN]))
    assert loss(newcomer(loss=9), stored, room(3, stored)) == [1, 3, 2]
    assert loss(newcomer(loss=UNKNOWN), stored, room(1, stored)) is None
