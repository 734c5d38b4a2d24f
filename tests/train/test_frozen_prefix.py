import pytest
import torch

from edgepers.plan.fit import MARGIN, fit
from edgepers.plan.shapes import ModelShapes
from edgepers.train.frozen_prefix import from_8_bits, lower_layers, to_8_bits
from edgepers.train.layout import MemoryLayout
from edgepers.train.packing import pack, packing
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import train

PAIRS = [
    ("What is my dog called?", "Your dog is called Moon."),
    ("Where are my keys?", "Behind the door."),
    ("Hi", "Hello, Emily!"),
]


def layers_run(llm, count):
    """How often each layer computes, counted by its attention."""
    blocks = llm.decoder.layers
    hooks = [
        block.self_attn.register_forward_hook(lambda *_, i=i: count.__setitem__(i, count[i] + 1))
        for i, block in enumerate(blocks)
    ]
    return hooks


@pytest.mark.parametrize("bits", [16, 8])
def test_the_states_are_those_of_a_whole_pass_and_lower_layers_do_not_run_again(llm, bits):
    examples = [llm.example(q, r, 256) for q, r in PAIRS]
    packed = pack(examples, llm.device)
    with packing(llm) as states_of, torch.no_grad():
        truth = states_of(packed)
        lower = lower_layers(llm, 3, bits)
        lower.remember(llm, states_of, examples + examples)
        assert lower.kept_bytes < sum(len(e.ids) for e in examples) * llm.hidden_size * (2.2 if bits == 16 else 1.2)
        count = [0] * 8
        hooks = layers_run(llm, count)
        with lower.passed_over():
            lower.hand_over(examples, llm.dtype)
            mine = states_of(packed)
        for hook in hooks:
            hook.remove()
        assert count == [0] * 5 + [1] * 3
        assert torch.allclose(states_of(packed), truth)  # all layers again
    error = (mine - truth).norm() / truth.norm()
    assert error < (0.01 if bits == 16 else 0.05)


def test_8_bits_are_off_by_half_a_step_at_most():
    torch.manual_seed(0)
    states = torch.randn(50, 64) * torch.logspace(-3, 3, 50)[:, None]
    numbers, scale = to_8_bits(states)
    assert numbers.dtype == torch.int8
    assert ((from_8_bits(numbers, scale) - states).abs() <= scale * 0.5001).all()
    zero, step = to_8_bits(torch.zeros(2, 4))
    assert (from_8_bits(zero, step) == 0).all()


def test_an_adapter_on_top_layers_is_the_same_with_and_without_kept_states(llm, tmp_path, monkeypatch):
    """But for the 16 bits of what is kept."""
    from edgepers.train import trainer

    recipe = Recipe(steps=12, batch=4, learning_rate=2e-3, rank=4, seed=1, top=2)
    losses = []
    for kept in (True, False):
        if not kept:
            monkeypatch.setattr(trainer, "lower_layers", lambda *_: None)
        (tmp_path / str(kept)).mkdir()
        losses.append([])
        train(llm, PAIRS, tmp_path / str(kept), recipe, on_step=lambda step: losses[-1].append(step.loss))
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert losses[0][-1] < 0.9 * losses[0][0]
    llm.use_adapter(tmp_path / "True")
    names = [name for name, p in llm._model.named_parameters() if "lora_" in name]
    assert {int(name.split("layers.")[1].split(".")[0]) for name in names} == {6, 7}


@pytest.mark.parametrize("top", [8, 100])
def test_as_many_layers_as_there_are_is_all_of_them(llm, top):
    assert lower_layers(llm, top, 16) is None
    model = llm.start_lora(4, 0, "attention", top)
    assert sum("lora_A" in name for name, _ in model.named_parameters()) == 8 * 4


def test_states_are_kept_in_8_bits_where_16_do_not_fit_and_the_losses_stay(llm, tmp_path):
    recipe = Recipe(steps=12, batch=4, learning_rate=2e-3, rank=4, seed=1, top=2)
    lengths = [(4_000, 4_000)] * 200
    shapes = ModelShapes.like(llm)
    wide = fit(shapes, lengths, recipe, 10**10)
    least = fit(shapes, lengths, recipe, 1).total  # in 8 bits, too, where nothing fits
    narrow = fit(shapes, lengths, recipe, int((least + 1_000) * MARGIN))
    assert (wide.configuration.state_bits, narrow.configuration.state_bits) == (16, 8)
    assert narrow.fits
    assert narrow.parts["states of lower layers"] == wide.parts["states of lower layers"] // 2
    assert "states of lower layers in 8 bits" in str(narrow.configuration)
    losses = []
    for configuration in (MemoryLayout(), MemoryLayout(state_bits=8)):
        folder = tmp_path / str(configuration.state_bits)
        folder.mkdir()
        losses.append([])
        train(
            llm, PAIRS, folder, recipe, configuration=configuration, on_step=lambda step: losses[-1].append(step.loss)
        )
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.03)
