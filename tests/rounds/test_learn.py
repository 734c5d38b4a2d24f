import pytest

from edgepers.assets import general_sets
from edgepers.config import Settings
from edgepers.errors import BudgetError, ModelError
from edgepers.plan.plan import plan
from edgepers.rounds.learn import fitting, learn
from edgepers.streams import read_dialogue_sets
from edgepers.train.packing import States
from edgepers.train.recipe import Recipe

PAIRS = [("Where is the house?", "It is by the river."), ("Who lives there?", "My sister does.")]


GENERAL = [(one.question, one.reference) for one in read_dialogue_sets(general_sets(), need_reference=True)]


class _Looking(States):
    """A model that decides by a value."""

    def __call__(self, packed):
        if packed.ids.sum() > 0:
            raise AssertionError
        return super().__call__(packed)


def test_the_configuration_is_said(llm, tmp_path):
    said = []
    learn(llm, Settings(steps=1), PAIRS, tmp_path / "round-1", lambda _: None, log=said.append)
    assert said == ["training in micro-batches of 1024 tokens"]
    assert (tmp_path / "round-1" / "adapter_config.json").exists()


def test_too_little_memory_is_refused(llm):
    with pytest.raises(BudgetError, match=r"--memory 100\.0 MB is too little"):
        fitting(llm, Recipe(steps=1), PAIRS, Settings(memory=100_000_000))


def test_a_model_that_cannot_be_counted_is_trained_and_it_is_said(llm, tmp_path, monkeypatch):
    monkeypatch.setattr("edgepers.plan.memory.States", _Looking)
    with pytest.raises(ModelError, match="a step of this model cannot be counted"):
        plan(device="orin-nano-8gb")
    said = []
    learn(llm, Settings(steps=1), PAIRS, tmp_path / "round-1", lambda _: None, log=said.append)
    assert len(said) == 1
    assert said[0].startswith("--memory 4.00 GB does not bound training: a step of this model cannot be counted")
    assert (tmp_path / "round-1" / "adapter_config.json").exists()


def test_a_fault_of_our_own_is_not_taken_for_a_model_that_cannot_be_counted(llm, monkeypatch):
    """A call of ours that passes the wrong arguments: outside the counted step, at its edge, and in the midst of it."""
    for ours in ("plan.fit.heaviest", "plan.memory.lean_layers", "train.step.pack", "train.step.head_loss"):
        with monkeypatch.context() as patch, pytest.raises(TypeError, match=r"takes 0 positional arguments|unexpected"):
            patch.setattr(f"edgepers.{ours}", lambda: None)
            fitting(llm, Recipe(steps=1), PAIRS, Settings())
