import math
from collections import Counter
from dataclasses import replace

import pytest

from edgepers.train.batching import batches, batches_of_tokens
from edgepers.train.recipe import Recipe


@pytest.mark.parametrize(("examples", "size"), [(1, 16), (7, 3), (16, 16), (100, 16)])
def test_each_pass_visits_every_example_once(examples, size):
    steps = list(batches(examples, size, 50, seed=3))
    assert all(len(step) == min(size, examples) for step in steps)
    drawn = [i for step in steps for i in step]
    for start in range(0, len(drawn) - examples + 1, examples):
        assert sorted(drawn[start : start + examples]) == list(range(examples))
    assert max(Counter(drawn).values()) - min(Counter(drawn).values()) <= 1


def test_the_order_is_a_pure_function_of_the_seed():
    assert list(batches(50, 8, 20, 1)) == list(batches(50, 8, 20, 1))
    assert list(batches(50, 8, 20, 1)) != list(batches(50, 8, 20, 2))


@pytest.mark.parametrize(
    ("lengths", "tokens"), [([7, 30, 12, 5, 90, 41], 100), ([60] * 3, 500), ([200, 180], 20), ([1], 3)]
)
def test_batches_of_tokens_visit_every_example_once_a_pass_and_take_what_was_asked(lengths, tokens):
    steps = list(batches_of_tokens(lengths, tokens, 40, seed=3))
    assert len(steps) == 40 and all(steps)
    drawn = [i for step in steps for i in step]
    assert (
        drawn[: len(lengths) * 2]
        == [i for step in batches(len(lengths), len(lengths), 2, 3) for i in step][: len(drawn)]
    )
    taken = 0
    for number, step in enumerate(steps, 1):
        taken += sum(lengths[i] for i in step)
        if max(lengths) <= tokens:
            assert abs(taken - number * tokens) <= max(lengths) / 2


def test_a_recipe_of_tokens_makes_the_same_work_of_short_and_of_long_sets():
    recipe = Recipe(steps=25, step_tokens=600, seed=1)
    short, long = [20, 31, 44] * 8, [150, 210, 90] * 8
    works = [
        sum(lengths[i] for step in recipe.plan(lengths, recipe.steps_for(lengths)) for i in step)
        for lengths in (short, long)
    ]
    assert works == pytest.approx([15_000, 15_000], rel=0.01)
    assert replace(recipe, steps=None, epochs=5).steps_for(short) == 7  # five passes over 760 tokens
    assert recipe.most_sets(long) == 7 and replace(recipe, step_tokens=None, rehearsal=4).most_sets(long) == 20


def test_untold_questions_are_counted_on_from_the_owners_and_each_has_its_turn():
    recipe = Recipe(epochs=3, batch=4, untold=2, seed=1)
    plan = recipe.plan([9] * 8, recipe.steps_for([9] * 8), untold=5)
    assert len(plan) == 6 and all(len(step) == 6 for step in plan)
    assert all(sum(i >= 8 for i in step) == 2 for step in plan)
    assert sorted(i for step in plan for i in step if i < 8) == sorted([*range(8)] * 3)
    assert {i for step in plan for i in step if i >= 8} == set(range(8, 13))
    assert recipe.most_sets([9] * 8) == 6
    assert replace(recipe, untold=0).plan([9] * 8, 6, untold=5) == [[i for i in step if i < 8] for step in plan]


def test_steps_are_as_many_as_passes_take_unless_they_are_given():
    assert Recipe(epochs=12, batch=16).steps_for([5] * 48) == 36
    assert Recipe(epochs=12, batch=16).steps_for([5] * 3) == 12
    assert Recipe(epochs=12, batch=16, steps=7).steps_for([5] * 48) == 7


@pytest.mark.parametrize(("sets", "steps"), [(1, 30), (12, 30), (16, 60), (36, 60), (60, 60), (72, 60), (84, 70)])
def test_few_sets_have_more_passes_where_none_are_set(sets, steps):
    assert Recipe(batch=12).steps_for([40] * sets) == steps
    assert Recipe(batch=12).steps_for([40] * sets, fresh=False) == 10 * math.ceil(sets / 12)
    assert Recipe(batch=12, epochs=3).steps_for([40] * sets) == 3 * math.ceil(sets / 12)
