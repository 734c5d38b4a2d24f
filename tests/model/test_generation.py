import torch

from edgepers.model.generation import SeededSampling


def test_a_rows_draw_does_not_depend_on_the_rows_beside_it():
    scores = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    together = SeededSampling([1, 2, 3], 0.7, 0.9)(torch.empty(3, 0), scores)
    for i in range(3):
        assert torch.equal(SeededSampling([i + 1], 0.7, 0.9)(torch.empty(1, 0), scores[i : i + 1])[0], together[i])


def test_draws_follow_the_tempered_nucleus():
    scores = torch.tensor([[2.0, 1.5, 1.0, 0.0, -3.0]])
    draws = SeededSampling(range(20_000), 0.8, 0.9)(torch.empty(20_000, 0), scores.expand(20_000, 5)).argmax(-1)
    tempered = (scores[0].double() / 0.8).softmax(-1)
    nucleus = torch.where(
        torch.arange(5) < 3, tempered, torch.zeros(5, dtype=torch.float64)
    )  # 0.52 + 0.28 + 0.15 passes 0.9
    share = torch.bincount(draws, minlength=5).double() / 20_000
    assert torch.allclose(share, nucleus / nucleus.sum(), atol=0.015)
