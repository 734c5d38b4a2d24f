"""What hears each token of an answer as it is written, called as transformers' streamers are."""

import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

__all__ = ["Pieces", "Ticks"]


class Pieces:
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


class Ticks:
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
