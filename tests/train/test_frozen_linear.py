import pytest
import torch
from peft.tuners.lora import LoraLayer

from edgepers.train.frozen_linear import InputDropout, lean_layers

QUESTION = "What is my dog called?"


def gradients(llm, model, lean, dropout=0.0):
    """Loss and the gradients of an adapter on one set, by PEFT's own layers or by ours."""
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.02, generator=torch.Generator().manual_seed(0))
    model.zero_grad()
    example = llm.example(QUESTION, "Your dog is called Moon.", 256)
    ids = torch.tensor([example.ids])
    with lean_layers(model) if lean else torch.enable_grad():
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("targets", ["attention", "all-linear"])
def test_layers_compute_what_pefts_own_do(llm, targets):
    model = llm.start_lora(4, 0, targets)
    loss, truth = gradients(llm, model, lean=False)
    mine, got = gradients(llm, model, lean=True)
    assert mine == pytest.approx(loss, rel=1e-5)
    assert got.keys() == truth.keys()
    for name, gradient in truth.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-3, atol=1e-6, msg=name)


def test_pefts_own_code_comes_back(llm):
    model = llm.start_lora(4, 0)
    with pytest.raises(RuntimeError, match="on purpose"), lean_layers(model):
        assert any("forward" in vars(module) for module in model.modules())
        raise RuntimeError("on purpose")
    assert not any("forward" in vars(module) for module in model.modules())


def begun(step, micro_batch=0):
    dropout = InputDropout(seed=1)
    dropout.add(200, 0.25)
    dropout.begin(step, micro_batch, 300, torch.float32, torch.device("cpu"))
    return dropout


def test_dropout_takes_its_share_and_one_mask_for_layers_of_one_input():
    dropout = begun(0)
    x = torch.ones(1, 300, 200)
    dropped, mask = dropout(0, x, x[0])
    assert mask.mean().item() == pytest.approx(0.75, abs=0.01)
    assert (dropped == mask).all()
    assert dropout(1, x, x[0])[1] is mask  # q, k and v of one layer
    other = torch.ones(1, 300, 200)
    assert (dropout(2, other, other[0])[1] != mask).any()
    x.add_(1)
    assert dropout(3, x, x[0])[0].max() == 2  # changed in place since


def test_masks_hang_on_seed_step_micro_batch_and_layer_alone():
    x = torch.ones(1, 300, 200)
    masks = {place: begun(*place[:2])(place[2], x, x[0])[1] for place in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))}
    again = begun(0)
    again(5, torch.ones(1, 2, 200), torch.ones(2, 200))  # whatever came before
    assert (again(0, x, x[0])[1] == masks[0, 0, 0]).all()
    for place, mask in masks.items():
        assert place == (0, 0, 0) or (mask != masks[0, 0, 0]).any()
    none = InputDropout()
    none.add(200, 0.0)
    none.begin(0, 0, 300, torch.float32, torch.device("cpu"))
    assert none(0, x, x[0])[1] is None


def test_the_gradient_of_a_dropped_input_is_that_of_autograd(llm):
    """With one mask for both: our backward pass against autograd's own over the same formula."""
    torch.manual_seed(0)
    model = llm.start_lora(4, 0)
    layer = next(module for module in model.modules() if isinstance(module, LoraLayer))
    (dropout,) = layer.lora_dropout.values()
    dropout.p = 0.3
    layer.train()
    torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
    base, a, b = layer.get_base_layer().weight, layer.lora_A["default"].weight, layer.lora_B["default"].weight
    x = torch.randn(1, 9, base.shape[1], requires_grad=True)
    weight = torch.randn(1, 9, base.shape[0])
    with lean_layers(model) as masks:
        masks.begin(0, 0, 9, torch.float32, torch.device("cpu"))
        y = layer(x)
        _, mask = masks(0, x, x[0])  # what it drew
        (y * weight).sum().backward()
    got = [t.grad.clone() for t in (x, a, b)]
    for t in (x, a, b):
        t.grad = None
    truth = x @ base.t() + (x * mask / 0.7) @ a.t() @ b.t() * layer.scaling["default"]
    (truth * weight).sum().backward()
    torch.testing.assert_close(y, truth, rtol=1e-4, atol=1e-5)
    for mine, t in zip(got, (x, a, b), strict=True):
        torch.testing.assert_close(mine, t.grad, rtol=1e-3, atol=1e-4)
