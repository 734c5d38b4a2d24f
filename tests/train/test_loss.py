import pytest
import torch
import torch.nn.functional as F

from edgepers.train import loss as loss_module
from edgepers.train.loss import chunk_rows, cross_entropy, head_loss


@pytest.mark.parametrize("chunk", [1, 7, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradient_are_those_of_all_logits_at_once(monkeypatch, chunk, dtype):
    torch.manual_seed(0)
    monkeypatch.setattr(loss_module, "CHUNK_BYTES", chunk * 4 * 50)
    assert chunk_rows(50) == {1: 1, 7: 7, 100: 96}[chunk]  # in steps of 32, where there are so many
    head = torch.randn(50, 16, dtype=dtype)
    states = torch.randn(20, 16, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, 50, (20,))
    weights = torch.rand(20)
    value = head_loss(states, lambda x: x @ head.t(), cross_entropy(targets, weights), 50)
    (3 * value).backward()
    exact = states.detach().double().requires_grad_()
    truth = (weights * F.cross_entropy(exact @ head.double().t(), targets, reduction="none")).sum()
    (3 * truth).backward()
    slack = 1e-5 if dtype == torch.float32 else 2e-2
    assert value.item() == pytest.approx(truth.item(), rel=slack)
    torch.testing.assert_close(states.grad.double(), exact.grad, rtol=slack, atol=slack)


def test_no_states_have_no_loss():
    states = torch.zeros(0, 4, requires_grad=True)
    value = head_loss(states, lambda x: x, cross_entropy(torch.zeros(0, dtype=torch.int64), torch.zeros(0)), 4)
    value.backward()
    assert value.item() == 0.0 and states.grad.shape == (0, 4)
