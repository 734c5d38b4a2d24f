import pytest
import torch

from edgepers.train.beside import MAX_TOKENS
from edgepers.train.contrast import Contrast
from edgepers.train.packing import packing
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import train
from tests.train.test_rehearsal import OWN, disturbed, loss

WRONG = [
    ("What is my dog called?", "I am sorry, I am only a model."),
    ("Where are my keys?", "Keys are small."),
    ("What is my dog called?", "Dogs are good friends of people, and many people love them."),
]


def shares(llm, pair):
    """Log share of each token of a response, in float64, of the model as it is now."""
    example = llm.example(*pair, MAX_TOKENS)
    with torch.no_grad():
        logits = llm._model(input_ids=torch.tensor([example.ids])).logits[0].double().log_softmax(-1)
    at = torch.arange(example.prompt_tokens - 1, len(example.ids) - 1)
    return logits[at, torch.tensor(example.ids)[at + 1]]


def test_the_loss_is_two_sigmoids_of_what_each_token_has_gained_on_the_base_model(llm):
    base = [shares(llm, pair) for pair in WRONG]
    try:
        with packing(llm) as states_of:
            contrast = Contrast(llm, states_of, WRONG, size=3, steps=1, seed=0)
            llm.start_lora(4, 0).eval()
            assert loss(llm, states_of, contrast, 0).item() == pytest.approx(
                1, abs=1e-5
            )  # LoRA begins as the base model
            llm.use_adapter(None)
            disturbed(llm)
            value = loss(llm, states_of, contrast, 0)
        expected = [2 * torch.sigmoid(shares(llm, pair) - of).mean() for pair, of in zip(WRONG, base, strict=True)]
        assert value.item() == pytest.approx(sum(map(float, expected)) / 3, rel=1e-3)
        value.backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in llm._model.parameters() if p.requires_grad)
    finally:
        llm.use_adapter(None)


def test_a_contrasted_adapter_learns_its_owner_and_says_less_of_what_was_wrong(llm, tmp_path):
    wrong, learned = [], []
    for contrast in (0, 3):
        folder = tmp_path / str(contrast)
        folder.mkdir()
        recipe = Recipe(steps=30, batch=4, learning_rate=4e-3, rank=4, seed=1, contrast=contrast)
        train(llm, OWN, folder, recipe, rejected=WRONG)
        llm.use_adapter(folder)
        wrong.append(llm.losses(WRONG))
        learned.append(sum(llm.losses(OWN)) / 2)
        llm.use_adapter(None)
    assert all(after > before for before, after in zip(*wrong, strict=True))
    assert max(learned) < 0.5
