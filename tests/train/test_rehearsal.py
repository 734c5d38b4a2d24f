import math

import pytest
import torch

from edgepers.train.beside import MAX_TOKENS
from edgepers.train.loss import head_loss
from edgepers.train.packing import pack, packing
from edgepers.train.recipe import Recipe
from edgepers.train.rehearsal import TOP, WEIGHT, Rehearsal
from edgepers.train.trainer import train

GENERAL = [
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Name two colours.", "Red and blue."),
    ("Why is the sky blue?", "Because air scatters blue light more than red light."),
]
OWN = [("What is my dog called?", "Your dog is called Moon."), ("Where are my keys?", "Behind the door.")]


def disturbed(llm):
    """A LoRA adapter that changes something, without dropout."""
    model = llm.start_lora(4, 0)
    model.eval()
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.05, generator=torch.Generator().manual_seed(0))
    return model


def truth(llm, pairs):
    """KL(base || adapted) over the whole vocabulary, token by token in float64, of the model as it is now."""
    total, count = 0.0, 0
    for question, response in pairs:
        example = llm.example(question, response, MAX_TOKENS)
        ids = torch.tensor([example.ids])
        with torch.no_grad():
            adapted = llm._model(input_ids=ids).logits[0].double().log_softmax(-1)
            with llm.adapter_off():
                base = llm._model(input_ids=ids).logits[0].double().log_softmax(-1)
        for at in range(example.prompt_tokens - 1, len(example.ids) - 1):
            top = base[at].topk(TOP)
            p, q = top.values, adapted[at][top.indices]
            p_rest, q_rest = (math.log(1 - float(x.exp().sum())) for x in (p, q))
            total += float((p.exp() * (p - q)).sum()) + math.exp(p_rest) * (p_rest - q_rest)
            count += 1
    return total / count


def loss(llm, states_of, kept, step):
    """Of all sets of a step, in two micro-batches."""
    total = 0
    for chosen in ([2, 0], [1]):
        states = states_of(pack([kept.examples(step)[i] for i in chosen], llm.device))
        total = total + head_loss(states, llm.head, kept.loss(step, chosen), llm.vocabulary)
    return total


def test_the_loss_is_the_divergence_from_the_base_model_on_response_tokens(llm):
    try:
        with packing(llm) as states_of:
            kept = Rehearsal(llm, states_of, GENERAL, size=3, steps=2, seed=0)
            llm.start_lora(4, 0).eval()
            assert loss(llm, states_of, kept, 0).item() == pytest.approx(0, abs=1e-6)  # LoRA begins as the base model
            llm.use_adapter(None)
            disturbed(llm)
            value = loss(llm, states_of, kept, 1)
        assert value.item() == pytest.approx(WEIGHT * truth(llm, GENERAL), rel=1e-3)
        value.backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in llm._model.parameters() if p.requires_grad)
    finally:
        llm.use_adapter(None)


def test_it_rehearses_seeded_sets_in_turn_and_asks_only_about_those(llm):
    with packing(llm) as states_of:
        one, two = (Rehearsal(llm, states_of, GENERAL * 10, size=2, steps=2, seed=s) for s in (0, 0))
    assert one._plan == two._plan and len({i for chosen in one._plan for i in chosen}) == 4 == len(one._base)
    assert one.examples(0) == [one._examples[i] for i in one._plan[0]]


@pytest.mark.parametrize(("pairs", "size"), [(GENERAL, 0), ([], 4)])
def test_nothing_to_rehearse_is_no_loss(llm, pairs, size):
    with packing(llm) as states_of:
        kept = Rehearsal(llm, states_of, pairs, size=size, steps=2, seed=0)
    assert kept.examples(0) == kept.examples(1) == []


def test_a_rehearsed_adapter_learns_its_owner_and_forgets_less(llm, tmp_path):
    moved, learned = [], []
    for rehearsal in (0, 3):
        folder = tmp_path / str(rehearsal)
        folder.mkdir()
        recipe = Recipe(steps=40, batch=4, learning_rate=4e-3, rank=4, seed=1, rehearsal=rehearsal)
        train(llm, OWN, folder, recipe, general=GENERAL)
        llm.use_adapter(folder)
        moved.append(truth(llm, GENERAL))
        learned.append(sum(llm.losses(OWN)) / 2)
        llm.use_adapter(None)
    assert moved[1] < 0.5 * moved[0]
    assert max(learned) < 0.5
