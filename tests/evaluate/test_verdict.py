import math
from dataclasses import replace

import numpy as np
import pytest

from edgepers.config import Settings
from edgepers.evaluate.reserve import LEAST_RESERVE
from edgepers.evaluate.verdict import LIMITS, Evidence, Limits, Repeats, judge, perplexity_rise

RNG = np.random.default_rng(0)
BEFORE = RNG.normal(3, 0.5, 12).tolist()
GENERAL = RNG.normal(3, 0.5, 64).tolist()


def judged(base, before, after, rise, most, **more):
    limits = replace(LIMITS, perplexity=most)
    return judge(Evidence(base=base, before=before, after=after, rise=rise, **more), limits)


def moved(values: list[float], by: float, spread: float = 0.1) -> list[float]:
    noise = np.random.default_rng(1).normal(0, spread, len(values))
    return (np.array(values) + by + noise - noise.mean()).tolist()


@pytest.mark.parametrize(
    ("by", "publish"), [(-0.5, True), (0.0, True), (0.01, True), (0.1, False), (float("nan"), False)]
)
def test_an_adapter_worse_by_more_than_one_standard_error_stays_aside(by, publish):
    verdict = judged(BEFORE, BEFORE, moved(BEFORE, by), 0.0, 0.05)
    assert verdict.publish == publish
    assert bool(verdict.reason) != publish


@pytest.mark.parametrize(("factor", "publish"), [(1.049, True), (1.051, False), (float("nan"), False)])
def test_general_perplexity_may_rise_by_the_limit(factor, publish):
    rise = perplexity_rise(GENERAL, moved(GENERAL, np.log(factor), 0))
    verdict = judged(BEFORE, BEFORE, moved(BEFORE, -1), rise, Limits.of(Settings(), 3_000_000_000).perplexity)
    assert verdict.publish == publish
    assert publish or verdict.reason.endswith("above the base model's (at most 5 %)") or math.isnan(factor)


def test_an_adapter_worse_than_none_stays_aside_although_it_is_better_than_the_published_one():
    verdict = judged(BEFORE, moved(BEFORE, 0.8), moved(BEFORE, 0.3), 0.0, 0.05)
    assert not verdict.publish
    assert verdict.reason.startswith(
        "loss on 12 sets in reserve is worse than the base model's by 0.300 (standard error"
    )
    assert judged(BEFORE, moved(BEFORE, 0.8), moved(BEFORE, 0.01), 0.0, 0.05).publish


def test_too_small_a_reserve_publishes_unguarded_but_not_what_forgot_too_much():
    few = BEFORE[: LEAST_RESERVE - 1]
    verdict = judged(few, few, moved(few, 9), 0.05, 0.05)
    assert (verdict.publish, verdict.reason, verdict.perplexity_rise) == (True, "unguarded", 0.05)
    verdict = judged(few, few, moved(few, -1), 0.06, 0.05)
    assert (verdict.publish, verdict.reason) == (
        False,
        "perplexity on general sets is 6.0 % above the base model's (at most 5 %)",
    )
    assert judged([], [], [], 0.0, 0.05).loss_before is None


@pytest.mark.parametrize(("after", "rise"), [([3.0, float("nan")], 0.0), ([3.0, 3.0], float("nan"))])
def test_an_adapter_without_finite_losses_is_refused_however_little_there_is_to_judge_by(after, rise):
    verdict = judged([3.0, 3.0], [3.0, 3.0], after, rise, 0.05)
    assert (verdict.publish, verdict.reason) == (False, "it has no finite loss")
    assert all(value is None or np.isfinite(value) for value in (verdict.loss_after, verdict.perplexity_rise))
    assert perplexity_rise([0.0], [1e6]) > 1e300


WELL = {"recalled": [True] * 9 + [False], "untold": Repeats(["a"], 24), "general": Repeats([], 24)}


def test_an_adapter_that_has_learned_and_repeats_little_is_published_without_a_reserve():
    verdict = judged([], [], [], 0.0, 0.05, **WELL)
    assert (verdict.publish, verdict.reason) == (True, "")
    assert (verdict.recalled, verdict.repeated, verdict.repeated_general) == (0.9, 1 / 24, 0.0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"recalled": [True] * 4 + [False] * 6},
            "4 of 10 short responses that it was trained on are said (at least 50%)",
        ),
        (
            {"untold": Repeats(["Moon."] * 8 + ["Rex."] * 2, 24)},
            "10 of 24 questions that nobody told are answered with what it was trained on, 8 with 'Moon.'",
        ),
        (
            {"general": Repeats(["Pineapple " * 10] * 5, 24)},
            f"5 of 24 general questions are answered with what it was trained on, 5 with '{('Pineapple ' * 10)[:59]}…'",
        ),
        (
            {"others": Repeats(["Moon."] * 7 + ["Rex."], 16)},
            "7 of 16 questions about something else are answered with 'Moon.'",
        ),
    ],
)
def test_what_has_not_learned_or_parrots_stays_aside_whatever_its_losses(change, reason):
    verdict = judged(BEFORE, BEFORE, moved(BEFORE, -1), 0.0, 0.05, **WELL | change)
    assert (verdict.publish, verdict.reason) == (False, reason)


def test_a_few_questions_about_something_else_may_be_answered_with_what_was_told():
    for found, asked in ((["Moon."] * 3, 4), (["Moon.", "Rex.", "Porto."] * 5, 16), ([], 0)):
        assert judged([], [], [], 0.0, 0.05, **WELL, others=Repeats(found, asked)).publish


def test_long_responses_are_learned_where_their_loss_falls():
    assert judged([], [], [], 0.0, 0.05, learned=(3.0, 2.9)).publish
    verdict = judged([], [], [], 0.0, 0.05, learned=(3.0, 3.0))
    assert verdict.reason == "loss on what it was trained on is 3.000, the base model's 3.000"


def test_the_smallest_models_may_do_more_and_perplexity_is_as_set():
    small, large = (Limits.of(Settings(), parameters) for parameters in (8_000_000, 135_000_000))
    assert small.perplexity > large.perplexity and small.general > large.general and small.untold > large.untold
    assert Limits.of(Settings(guard_perplexity=0.1), 8_000_000) == replace(small, perplexity=0.1)


def test_a_part_of_an_update_that_has_lost_what_the_whole_recalls_is_no_publication():
    for left, publish in ((8, True), (7, False)):
        part = Evidence(base=[], before=[], after=[], rise=0.0, recalled=[True] * left + [False] * (10 - left))
        verdict = judge(part, LIMITS, whole=[True] * 10)
        assert verdict.publish == publish
        assert publish or verdict.reason == "7 of 10 responses that the whole update says are left"
