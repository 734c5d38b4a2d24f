"""The paper's bins, against a list of sets that is kept by hand."""

import numpy as np

from edgepers.select.policy import Kept, Newcomer, Room
from studies.rouge1.paper_layout import BIN_BYTES, bins

PLACES = 3


def offered(stream, places=PLACES):
    """Positions that `bins` keeps of (entropy, domain score, dissimilarity) triples; bytes never run out."""
    kept = []
    policy = bins(places * BIN_BYTES + 1)
    for position, scores in enumerate(stream):
        columns = [np.array([one[k] for one in kept], np.int64) for k in range(4)]
        nothing = np.zeros(len(kept), np.int64)
        now = Kept(*columns, np.zeros(len(kept), bool), np.zeros((len(kept), 2), np.int8), *[nothing] * 4)
        room = Room(0, False, lambda rows: 0, np.zeros(len(kept), bool))
        leave = policy(Newcomer(position, *scores, "food", np.zeros(2, np.int8)), now, room)
        if leave is not None:
            kept = [one for row, one in enumerate(kept) if row not in set(leave)] + [(position, *scores)]
        yield [one[0] for one in kept]


def test_the_first_sets_fill_the_bins_and_a_later_one_takes_the_place_of_one_that_it_beats():
    rng = np.random.default_rng(0)
    stream = [tuple(int(score) for score in rng.integers(0, 50, 3)) for _ in range(200)]
    before, replaced = [], 0
    for position, kept in enumerate(offered(stream)):
        assert len(kept) == min(position + 1, PLACES)
        gone = [one for one in before if one not in kept]
        beaten = [
            one for one in before if all(old < new for old, new in zip(stream[one], stream[position], strict=True))
        ]
        if position >= PLACES:
            assert bool(gone) == bool(beaten) == (position in kept)
            assert len(gone) <= 1 and set(gone) <= set(beaten)
            replaced += len(gone)
        before = kept
    assert replaced >= 5


def test_without_a_bin_nothing_is_kept():
    assert list(offered([(1, 1, 1)] * 3, places=0)) == [[]] * 3
