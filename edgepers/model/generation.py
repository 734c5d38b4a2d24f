"""What generation is given: sampling that is a pure function of seeds, and what hears each token as it is written."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

__all__ = ["SeededSampling", "TextStreamer", "TokenTimer"]


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


class TextStreamer:
    """Tells what each new token adds to the text; half a character waits for its rest."""

    def __init__(self, tokenizer: Any, told: Callable[[str], None]) -> None:
        self._tokenizer = tokenizer
        self._told = told
        self._ids: list[int] | None = None  # None: the prompt has not been passed yet
        self._shown = 0

    def put(self, value: Tensor) -> None:
        """Called with the prompt, then with each token."""
        if self._ids is None:
            self._ids = []
            return
        self._ids += value.flatten().tolist()
        text = self._text()
        if not text.endswith("\ufffd"):
            self._tell(text.rstrip())  # white space waits: an answer does not end in it

    def end(self) -> None:
        """Called when nothing more comes."""
        self._tell(self._text().strip())

    def _text(self) -> str:
        return str(self._tokenizer.decode(self._ids or [], skip_special_tokens=True)).lstrip()

    def _tell(self, text: str) -> None:
        if len(text) > self._shown:
            self._told(text[self._shown :])
            self._shown = len(text)


class TokenTimer:
    """Times tokens as they come; each has come to the CPU by then."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._prompt = True
        self.seconds: list[float] = []

    def put(self, value: Tensor) -> None:
        """Called with the prompt, then with each token."""
        if not self._prompt:
            now = time.perf_counter()
            self.seconds.append(now - self._last)
            self._last = now
        self._prompt = False

    def end(self) -> None:
        """Called when nothing more comes."""
