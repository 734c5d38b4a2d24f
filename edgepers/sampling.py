"""Sampling whose every draw is a pure function of a row's own seed: the batch around it changes nothing."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

__all__ = ["SeededSampling"]


class SeededSampling(LogitsProcessor):  # type: ignore[misc]
    """Nucleus sampling by the Gumbel-max trick (Maddison et al. 2014): the argmax of the returned scores is the draw.

    Row i draws its noise from a generator seeded with `seeds[i]`; use it with `do_sample=False`.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float) -> None:
        self._generators = [torch.Generator().manual_seed(seed & ((1 << 63) - 1)) for seed in seeds]
        self._temperature = temperature
        self._top_p = top_p

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [B, V] -> float32 [B, V], -inf outside each row's nucleus, noise inside."""
        scores = scores.float() / self._temperature
        ordered, order = scores.sort(dim=-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        outside = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= self._top_p)
        uniform = torch.stack([torch.rand(scores.shape[-1], generator=g) for g in self._generators])
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
        return (scores + gumbel.to(scores.device)).masked_fill(outside, -torch.inf)
