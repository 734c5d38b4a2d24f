import numpy as np
import pytest

from edgepers.select.explain import explain
from edgepers.select.policy import GRID, Kept, Newcomer


def steps(*scores):
    return np.array([round(score * GRID) for score in scores], np.int64)


KEPT = Kept(
    position=np.array([3, 8, 9], np.int64),
    entropy=steps(0.2, 0.9, 0.3),
    domain_score=steps(0.01, 0.01, 0.9),
    dissimilarity=steps(0.4, 0.4, 0.4),
    annotated=np.zeros(3, bool),
    embedding=np.zeros((3, 4), np.int8),
    characters=np.full(3, 40),
    stored_bytes=np.full(3, 400),
    loss=np.full(3, -1),
    repeats=np.zeros(3, np.int64),
)


def newcomer(domain="food"):
    entropy, domain_score, dissimilarity = (int(x) for x in steps(0.5, 0.02, 0.3))
    return Newcomer(10, entropy, domain_score, dissimilarity, domain, np.zeros(4, np.int8))


@pytest.mark.parametrize(
    ("domain", "evict", "reason", "policy", "says"),
    [
        ("food", [], "", "quality", "kept: there was room (EOE 0.500, DSS 0.0200, IDD 0.300, food)"),
        ("food", [0, 2], "", "quality", "kept in place of set 3 (EOE 0.200, DSS 0.0100, IDD 0.400); set 9 (EOE 0.300"),
        (
            "food",
            None,
            "policy",
            "quality",
            "dropped: of 3 kept sets it beats 2 in EOE, 2 in DSS, 0 in IDD, none in all",
        ),
        ("general", None, "policy", "quality", "dropped: of 3 kept sets it beats 2 in EOE, 0 in IDD, none in all"),
        ("food", None, "policy", "fifo", "dropped: policy fifo kept what is there"),
        ("food", None, "too_big", "quality", "dropped: too long to keep inside the storage budget"),
    ],
)
def test_the_line_says_why_and_against_which(domain, evict, reason, policy, says):
    line = explain(newcomer(domain), KEPT, evict, reason, policy)
    assert line.startswith(says) and "\n" not in line


def test_beaten_sets_that_are_too_small_are_told_from_none():
    strong = Newcomer(10, *(int(x) for x in steps(1, 1, 1)), "food", np.zeros(4, np.int8))
    assert "the 3 of 3 kept sets that it beats in every score would not make room enough" in explain(
        strong, KEPT, None, "policy", "quality"
    )
