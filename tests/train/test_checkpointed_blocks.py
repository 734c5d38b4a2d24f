import pytest
import torch

from edgepers.train.checkpointed_blocks import blocks_of, recomputed_blocks
from edgepers.train.frozen_linear import lean_layers
from edgepers.train.packing import packing
from edgepers.train.step import backward

PAIRS = [("What is my dog called?", "Your dog is called Moon."), ("Hi", "Hello, Emily, how are you today?")]


def gradient(llm, model, count, seen):
    with packing(llm) as states_of, recomputed_blocks(model, count), lean_layers(model, seed=3) as dropout:
        model.zero_grad()
        hooks = [
            block.mlp.register_forward_pre_hook(lambda *_, i=i: seen.append(i))
            for i, block in enumerate(blocks_of(model))
        ]
        loss = backward(
            llm, states_of, [llm.example(q, r, 256) for q, r in PAIRS], micro_batch_tokens=1024, dropout=dropout
        )
        for hook in hooks:
            hook.remove()
    return loss, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("count", [1, 3, 8])
def test_blocks_computed_again_have_the_same_gradient_dropout_included(llm, count):
    model = llm.start_lora(4, 0)
    model.train()
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.02, generator=torch.Generator().manual_seed(0))
    once, again = [], []
    loss, truth = gradient(llm, model, 0, once)
    same, mine = gradient(llm, model, count, again)
    assert once == list(range(8))
    assert sorted(again[8:]) == list(range(8 - count, 8))  # the uppermost, once more
    assert same == loss
    assert torch.equal(mine, truth)
    assert not any("gradient_checkpointing" in vars(block) for block in blocks_of(model))
