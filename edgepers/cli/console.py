"""What a person sees while it works: progress on stderr."""

import sys
from typing import Any, TextIO

from tqdm import tqdm

from edgepers.config import format_size
from edgepers.rounds.listener import Listener
from edgepers.select.decision import Decision
from edgepers.text import clip, pad
from edgepers.train.trainer import TrainStep

__all__ = ["Console"]

_SAYS = {
    "annotate": "asking for annotations",
    "synthesize": "writing variations",
    "train": "training",
    "guard": "guarding",
    "evaluate": "answering the test set",
}


class Console(Listener):
    """Progress bars on a terminal, a line a stage elsewhere."""

    def __init__(self, total: int | None = None, explain: TextIO | None = None) -> None:
        self._live = sys.stderr.isatty()
        self.explains = explain is not None
        self._explain = explain  # where each decision is explained in a line
        self._total = total
        self._selecting: tqdm[Any] | None = None
        self._training: tqdm[Any] | None = None
        self._kept = 0

    def log(self, text: str) -> None:
        """One line on stderr, above any bar."""
        tqdm.write(f"edgepers: {text}", file=sys.stderr)

    def decided(self, decision: Decision) -> None:
        """Move the bar of the stream."""
        self._kept += decision.admitted - len(decision.evicted)
        if self._explain is not None:
            tqdm.write(
                f"{decision.position:>6}  {pad(clip(decision.question, 40), 40)}  {decision.why}", file=self._explain
            )
        if not self._live:
            return
        if self._selecting is None:
            self._selecting = tqdm(
                total=self._total, initial=decision.position, desc="selecting", unit="set", file=sys.stderr, leave=False
            )
        self._selecting.set_postfix(kept=f"{self._kept:+}", refresh=False)
        self._selecting.update()

    def stage(self, name: str, round_number: int) -> None:
        """Say which stage of a round begins."""
        self.close()
        where = f"round {round_number}" if round_number else "before the first round"
        if self._live or name in ("train", "evaluate"):
            self.log(f"{where}: {_SAYS[name]}")

    def trained(self, step: TrainStep) -> None:
        """Move the bar of the training: loss, tokens/s, memory, time left."""
        if self._live:
            if self._training is None:
                self._training = tqdm(total=step.steps, desc="training", unit="step", file=sys.stderr, leave=False)
            memory = "" if step.memory_bytes is None else f", {format_size(step.memory_bytes)}"
            self._training.set_postfix_str(
                f"loss {step.loss:.3f}, {step.tokens_per_second:.0f} tokens/s{memory}", refresh=False
            )
            self._training.update()
        if step.step == step.steps:
            self.close()
            if not self._live:
                self.log(f"trained {step.steps} steps, loss {step.loss:.3f}, {step.tokens_per_second:.0f} tokens/s")

    def close(self) -> None:
        """Take the progress bars away."""
        for bar in (self._selecting, self._training):
            if bar is not None:
                bar.close()
        self._selecting = self._training = None
