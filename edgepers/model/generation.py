"""What generation is given: sampling that is a pure function of seeds, and what hears each token as it is written."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria

from edgepers.model.prompts import end_token
from edgepers.streams.reasoning import REASONING_TOKENS, visible_answer

__all__ = [
    "AnswerText",
    "SeededSampling",
    "StopStrings",
    "Stopped",
    "TextStreamer",
    "TokenTimer",
    "forget_sampling",
    "stop_ids_of",
]


class SeededSampling(LogitsProcessor):  # type: ignore[misc]
    """Nucleus sampling by the Gumbel-max trick (Maddison et al. 2014): the argmax of the returned scores is the draw.

    Row i draws its noise from a generator seeded with `seeds[i]`; use it with `do_sample=False`.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float) -> None:
        self._generators = [torch.Generator().manual_seed(seed & ((1 << 63) - 1)) for seed in seeds]
        self._temperature = temperature
        self._top_p = top_p

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the rows."""
        self._generators = [self._generators[row] for row in rows]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [B, V] -> float32 [B, V], -inf outside each row's nucleus, noise inside."""
        scores = scores.float() / self._temperature
        ordered, order = scores.sort(dim=-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        outside = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= self._top_p)
        uniform = torch.stack([torch.rand(scores.shape[-1], generator=g) for g in self._generators])
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
        return (scores + gumbel.to(scores.device)).masked_fill(outside, -torch.inf)


class AnswerText:
    """Tokens of an answer as text: without its thoughts, up to the first token or text that ends it.

    Attributes:
        stop: texts that end it.
    """

    def __init__(self, tokenizer: Any, stop_ids: Sequence[int], stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop_ids = frozenset(stop_ids)
        self._special = [str(token) for token in tokenizer.all_special_tokens]
        self._reasoning = frozenset(
            number
            for token, number in zip(self._special, tokenizer.all_special_ids, strict=True)
            if REASONING_TOKENS.fullmatch(token)
        )
        self.stop = tuple(stop)

    def read(self, ids: Sequence[int], *, whole: bool = True) -> tuple[str, bool, int]:
        """Text so far, whether it has ended, and how many of the tokens are its own.

        Args:
            ids: of the answer.
            whole: False while it is written: what may become part of a stop text or of a thought's mark waits.
        """
        end = next((at for at, token in enumerate(ids) if token in self._stop_ids), None)
        own = list(ids if end is None else ids[:end])
        text = visible_answer(self._decoded(own), whole=whole)
        cuts = [at for stop in self.stop if (at := text.find(stop)) >= 0]
        if cuts:
            return text[: min(cuts)], True, len(own)
        if not whole:
            text = text[: len(text) - max((_overlap(text, stop) for stop in self.stop), default=0)]
        return text, end is not None, len(own) + (end is not None)

    def _decoded(self, ids: list[int]) -> str:
        if self._reasoning.isdisjoint(ids):
            return str(self._tokenizer.decode(ids, skip_special_tokens=True))
        text = str(self._tokenizer.decode(ids, skip_special_tokens=False))  # thoughts are between special tokens
        for token in self._special:
            if not REASONING_TOKENS.fullmatch(token):
                text = text.replace(token, "")
        return text


def _overlap(text: str, stop: str) -> int:
    """How much of the end of a text may be the beginning of a stop text."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


class StopStrings(StoppingCriteria):  # type: ignore[misc]
    """Ends each row of a batch at the first stop text of its own."""

    def __init__(self, text: AnswerText, prompt_tokens: int) -> None:
        self._text = text
        self._prompt_tokens = prompt_tokens

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """Tokens [B, T] -> bool [B]: rows that are over."""
        rows = input_ids[:, self._prompt_tokens :].tolist()
        return torch.tensor([self._text.read(row)[1] for row in rows], dtype=torch.bool, device=input_ids.device)


class Stopped(StoppingCriteria):  # type: ignore[misc]
    """Ends a batch when it is told so, such as where nobody waits for the answer any more."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """Tokens [B, T] -> bool [B], the same for all rows."""
        return torch.full((len(input_ids),), self._stopped(), dtype=torch.bool, device=input_ids.device)


class TextStreamer:
    """Gives what each new token adds to an answer; half a character, and white space, wait for what follows."""

    def __init__(self, text: AnswerText, on_text: Callable[[str], None]) -> None:
        self._text = text
        self._on_text = on_text
        self._ids: list[int] | None = None  # None: the prompt has not been passed yet
        self._shown = 0

    def put(self, value: Tensor) -> None:
        """Called with the prompt, then with each token."""
        if self._ids is None:
            self._ids = []
            return
        self._ids += value.flatten().tolist()
        text, *_ = self._text.read(self._ids, whole=False)
        if not text.endswith("\ufffd"):
            self._show(text.strip())  # an answer does not end in white space

    def end(self) -> None:
        """Called when nothing more comes."""
        self._show(self._text.read(self._ids or [])[0].strip())

    def _show(self, text: str) -> None:
        if len(text) > self._shown:
            self._on_text(text[self._shown :])
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


def stop_ids_of(model: Any, tokenizer: Any, end_of_turn: str) -> list[int]:
    """Return the tokens that end an answer.

    Those are the ones that the model and its tokenizer name, and the one that ends a turn in its template.
    """
    given = model.generation_config.eos_token_id
    ids = set(given if isinstance(given, (list, tuple)) else [given]) | {tokenizer.eos_token_id}
    ids.add(end_token(tokenizer, end_of_turn))
    return sorted(int(i) for i in ids if i is not None)


def forget_sampling(model: Any) -> None:
    """Take from a model what it would be sampled with.

    That is said at each call, and `generate` would complain each time.
    """
    config = model.generation_config
    config.do_sample = False
    for name in ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"):
        if hasattr(config, name):
            setattr(config, name, None)
