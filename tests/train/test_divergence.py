"""A run that diverges, or whose loss stops being a number, ends with its last good adapter and names the sets."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, load_file

from edgepers.errors import ModelError
from edgepers.train import trainer
from edgepers.train.batching import batches
from edgepers.train.divergence import DIVERGED_STEPS, Ended, far_above, limit_of
from edgepers.train.packing import States
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import train

PAIRS = [
    ("What is my dog called?", "Your dog is called Moon."),
    ("Where are my keys?", "Behind the door."),
    ("What do bees make?", "Honey, and a zither."),  # the set that will have no finite loss
    ("Hi", "Hello, Emily!"),
    ("What is my cat called?", "Your cat is called Sun."),
    ("Good night", "Sleep well, Emily."),
]
NAMES = ["dog", "keys", "the bees", "dog", "cat", "night"]
SEED = next(seed for seed in range(100) if 2 in list(batches(6, 2, 3, seed))[2])  # the bees come in the third step
RECIPE = Recipe(steps=8, batch=2, learning_rate=2e-3, rank=4, seed=SEED)


class Stopped(Exception):
    pass


@pytest.fixture
def broken_set(llm, monkeypatch):
    """The model has no finite states for the set about bees."""
    spoilt = set(llm.example(*PAIRS[2], 256).ids[-6:-1])
    real = States.__call__

    def states(self, packed):
        found = real(self, packed)
        return found * math.nan if spoilt <= set(packed.ids[0].tolist()) else found

    monkeypatch.setattr(States, "__call__", states)


def run(llm, folder, *, pairs=PAIRS, recipe=RECIPE, checkpoint=None, stop_after=None, told=None, names=NAMES):
    folder.mkdir(exist_ok=True)

    def hear(step):
        if told is not None:
            told.append(step)
        if step.step == stop_after:
            raise Stopped

    result = train(llm, pairs, folder, recipe, checkpoint=checkpoint, on_step=hear, names=names)
    return result, (folder / "adapter_model.safetensors").read_bytes()


def nan_at(monkeypatch, *steps):
    """The loss of these steps, from 1, is not a number, whatever their sets."""
    real = trainer.backward

    def backward(*args, step, **kwargs):
        loss = real(*args, step=step, **kwargs)
        return loss * math.nan if step + 1 in steps else loss

    monkeypatch.setattr(trainer, "backward", backward)


@pytest.mark.usefixtures("broken_set")
def test_a_set_without_a_finite_loss_ends_the_run_with_the_adapter_before_it_and_is_named(llm, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    result, _ = run(llm, tmp_path / "a", checkpoint=tmp_path / "c")
    assert result.steps == 2
    assert result.ended.names == ("the bees",)
    assert str(result.ended) == (
        "training ended at step 3 of 8: the loss is not a finite number (set 'the bees'); the adapter of step 2 is kept"
    )
    saved = load_file(tmp_path / "a" / "adapter_model.safetensors")
    last = load((tmp_path / "c").read_bytes())  # as the last good step left it
    for name, weight in saved.items():
        assert weight.isfinite().all()
        (found,) = [v for k, v in last.items() if k.startswith("weight.") and k[7:].replace(".default", "") == name]
        assert torch.equal(found, weight)
    assert math.isfinite(result.last_loss)


@pytest.mark.usefixtures("broken_set")
def test_a_set_without_a_finite_loss_in_the_first_step_is_one_line_that_names_it_and_the_model_is_usable(llm, tmp_path):
    with pytest.raises(
        ModelError, match=r"diverged at step 1 of 8, before any step was good: .* forget set 'the bees'$"
    ):
        run(llm, tmp_path / "a", recipe=replace(RECIPE, batch=6))
    assert not list((tmp_path / "a").iterdir())
    assert llm.answer(["Hi"], max_new_tokens=2)


def test_a_loss_without_a_culprit_names_the_sets_with_the_largest(llm, tmp_path, monkeypatch):
    nan_at(monkeypatch, 4)
    result, _ = run(llm, tmp_path / "a")
    assert (result.steps, result.ended.step, result.ended.good) == (3, 4, 3)
    assert len(result.ended.names) == 2


def test_a_gradient_that_is_not_finite_is_not_taken(llm, tmp_path, monkeypatch):
    real = trainer.backward

    def backward(*args, step, **kwargs):
        loss = real(*args, step=step, **kwargs)
        if step == 3:
            next(p for p in args[0]._model.parameters() if p.grad is not None).grad[0, 0] = math.inf
        return loss

    monkeypatch.setattr(trainer, "backward", backward)
    result, _ = run(llm, tmp_path / "a")
    assert result.steps == 3
    assert result.ended.why == "the gradient is not a finite number"
    assert all(weight.isfinite().all() for weight in load_file(tmp_path / "a" / "adapter_model.safetensors").values())


def test_an_adapter_that_makes_losses_infinite_is_gone_back_from(llm, tmp_path, monkeypatch):
    """Each step's loss judges the weights that the step before left: those after a step far too large are not good."""
    real = trainer.learning_rate_at
    monkeypatch.setattr(
        trainer, "learning_rate_at", lambda step, steps, peak: 1e30 if step == 3 else real(step, steps, peak)
    )
    result, _ = run(llm, tmp_path / "a")
    assert (result.ended.step, result.steps) == (5, 3)
    assert max(weight.abs().max() for weight in load_file(tmp_path / "a" / "adapter_model.safetensors").values()) < 10


def test_weights_that_the_last_step_spoilt_are_gone_back_from(llm, tmp_path, monkeypatch):
    real = trainer.learning_rate_at
    monkeypatch.setattr(
        trainer, "learning_rate_at", lambda step, steps, peak: math.inf if step == 7 else real(step, steps, peak)
    )
    result, _ = run(llm, tmp_path / "a")
    assert (result.ended.step, result.steps, result.ended.why) == (8, 7, "the weights are not finite")
    assert all(weight.isfinite().all() for weight in load_file(tmp_path / "a" / "adapter_model.safetensors").values())


@pytest.fixture
def diverging(monkeypatch):
    """A recipe that goes well for four steps, and then at a rate that grows faster than any recovery."""
    real = trainer.learning_rate_at
    monkeypatch.setattr(
        trainer,
        "learning_rate_at",
        lambda step, steps, peak: 5.0 * 4 ** (step - 3) if step >= 4 else real(step, steps, peak),
    )
    return Recipe(steps=20, batch=4, learning_rate=2e-3, rank=8, seed=1, targets="all-linear")


def test_a_diverging_run_ends_with_the_adapter_that_last_had_a_good_loss(llm, tmp_path, diverging):
    told = []
    result, _ = run(llm, tmp_path / "a", recipe=diverging, told=told)
    limit = limit_of(result.first_loss, llm.vocabulary)
    assert [step.loss > limit for step in told][-DIVERGED_STEPS + 1 :] == [True] * (DIVERGED_STEPS - 1)
    assert result.ended.step == len(told) + 1
    assert 4 <= result.steps <= result.ended.step - DIVERGED_STEPS
    assert result.last_loss <= limit
    assert "in 5 steps in a row" in result.ended.why
    assert {*result.ended.names} <= {*NAMES}


@pytest.mark.parametrize(
    "losses", [[6.8, 5.0, 3.8, 2.8, 6.1, 5.1], [0.4, 4.0, 5.1, 3.9, 4.4, 6.0], [10.4, 11.0, 12.9, 10.8, 11.5, 11.2]]
)
def test_noisy_steps_of_single_sets_and_untrained_models_are_not_far_above_the_start(losses):
    assert not any(far_above(loss, losses[0], 8192) for loss in losses)


def test_a_run_that_ends_is_the_same_to_the_bit_after_an_interruption(llm, tmp_path, monkeypatch, diverging):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    whole, weights = run(llm, tmp_path / "whole", recipe=diverging)
    for stop_after in (whole.steps, whole.steps + 1, whole.ended.step - 1):
        with pytest.raises(Stopped):
            run(llm, tmp_path / "made", recipe=diverging, checkpoint=tmp_path / "c", stop_after=stop_after)
        again, same = run(llm, tmp_path / "made", recipe=diverging, checkpoint=tmp_path / "c")
        assert same == weights
        assert (again.ended, again.steps, again.tokens, again.last_loss) == (
            whole.ended,
            whole.steps,
            whole.tokens,
            whole.last_loss,
        )
        (tmp_path / "c").unlink()


def test_many_sets_are_counted_and_a_general_one_is_not_called_the_owners():
    ended = Ended(3, 8, 2, "why", ("a", "b", "a", "c", "d", "e"))
    assert ended.sets == "sets a, b, c and 2 more"
    assert Ended(3, 8, 2, "why", ()).sets == "a general set of --rehearsal"
