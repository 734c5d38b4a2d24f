import math

import numpy as np
import pytest

from edgepers.evaluate.guard import (
    LEAST_RESERVE,
    MOST_RESERVE,
    default_perplexity_rise,
    is_reserved,
    judge,
    perplexity_rise,
    split_reserve,
)
from edgepers.state.records import KeptSet
from edgepers.streams import Cursor

RNG = np.random.default_rng(0)
BEFORE = RNG.normal(3, 0.5, 12).tolist()
GENERAL = RNG.normal(3, 0.5, 64).tolist()


def kept(position: int) -> KeptSet:
    return KeptSet(position, f"id-{position}", "q", "r", "w", "a", 0, 0, np.zeros(1, np.int8), Cursor(), 1, "corrected")


def moved(values: list[float], by: float, spread: float = 0.1) -> list[float]:
    noise = np.random.default_rng(1).normal(0, spread, len(values))
    return (np.array(values) + by + noise - noise.mean()).tolist()


@pytest.mark.parametrize(
    ("by", "publish"), [(-0.5, True), (0.0, True), (0.01, True), (0.1, False), (float("nan"), False)]
)
def test_an_adapter_worse_by_more_than_one_standard_error_stays_aside(by, publish):
    verdict = judge(BEFORE, BEFORE, moved(BEFORE, by), 0.0, 0.05)
    assert verdict.publish == publish
    assert bool(verdict.reason) != publish


@pytest.mark.parametrize(("factor", "publish"), [(1.049, True), (1.051, False), (float("nan"), False)])
def test_general_perplexity_may_rise_by_the_limit(factor, publish):
    rise = perplexity_rise(GENERAL, moved(GENERAL, np.log(factor), 0))
    verdict = judge(BEFORE, BEFORE, moved(BEFORE, -1), rise, default_perplexity_rise(3_000_000_000))
    assert verdict.publish == publish
    assert publish or verdict.reason.endswith("above the base model's (at most 5 %)") or math.isnan(factor)


def test_an_adapter_worse_than_none_stays_aside_although_it_is_better_than_the_published_one():
    verdict = judge(BEFORE, moved(BEFORE, 0.8), moved(BEFORE, 0.3), 0.0, 0.05)
    assert not verdict.publish
    assert verdict.reason.startswith(
        "loss on 12 sets in reserve is worse than the base model's by 0.300 (standard error"
    )
    assert judge(BEFORE, moved(BEFORE, 0.8), moved(BEFORE, 0.01), 0.0, 0.05).publish


def test_too_small_a_reserve_publishes_unguarded_but_not_what_forgot_too_much():
    few = BEFORE[: LEAST_RESERVE - 1]
    verdict = judge(few, few, moved(few, 9), 0.05, 0.05)
    assert (verdict.publish, verdict.reason, verdict.perplexity_rise) == (True, "unguarded", 0.05)
    verdict = judge(few, few, moved(few, -1), 0.06, 0.05)
    assert (verdict.publish, verdict.reason) == (
        False,
        "perplexity on general sets is 6.0 % above the base model's (at most 5 %)",
    )
    assert judge([], [], [], 0.0, 0.05).loss_before is None


@pytest.mark.parametrize(("after", "rise"), [([3.0, float("nan")], 0.0), ([3.0, 3.0], float("nan"))])
def test_an_adapter_without_finite_losses_is_refused_however_little_there_is_to_judge_by(after, rise):
    verdict = judge([3.0, 3.0], [3.0, 3.0], after, rise, 0.05)
    assert (verdict.publish, verdict.reason) == (False, "it has no finite loss")
    assert all(value is None or np.isfinite(value) for value in (verdict.loss_after, verdict.perplexity_rise))
    assert perplexity_rise([0.0], [1e6]) > 1e300


def test_the_reserve_is_a_fifth_for_ever_capped_at_the_newest_and_never_trained_on():
    sets = [kept(i) for i in range(1000)]
    training, reserve = split_reserve(sets)
    assert 0.15 < 1 - len(training) / 1000 < 0.25
    assert len(reserve) == MOST_RESERVE
    assert not {k.position for k in training} & {k.position for k in sets if is_reserved(k)}
    assert min(k.position for k in reserve) > 700
    assert split_reserve(sets[:50])[0] == [k for k in training if k.position < 50]
