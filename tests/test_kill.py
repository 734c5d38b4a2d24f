"""SIGKILL at more than 300 random moments over selecting and whole rounds.

Nothing acknowledged is lost, and the end is the same.

`python -m tests.killed --kills 100` kills parent and child of rounds more often.
"""

import random

import pytest

from tests.killing import Killer, kill_rounds

KILLS = {"select": 210, "batched": 50, "run": 40, "round": 8}


@pytest.fixture(scope="module")
def killer():
    with Killer() as made:
        yield made


@pytest.mark.parametrize(
    ("kind", "whom"),
    [("select", "parent"), ("batched", "parent"), ("run", "parent"), ("round", "parent"), ("round", "child")],
)
def test_killed_anywhere_and_continued_nothing_is_lost_and_the_end_is_the_same(tmp_path, killer, kind, whom):
    counts = kill_rounds(tmp_path, killer, kind, KILLS[kind], random.Random(kind + whom), whom)
    assert counts[f"{whom} killed"] == KILLS[kind]
