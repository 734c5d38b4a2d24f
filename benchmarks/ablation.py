"""Our trainer with one of its ideas off, or with one more on.

What each is worth by itself, for `bench_train --ablation`.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from edgepers.train import trainer
from edgepers.train.frozen_linear import InputDropout
from edgepers.train.layout import MemoryLayout
from edgepers.train.packing import States

__all__ = ["ABLATIONS", "Ablation"]


@contextlib.contextmanager
def _padded(llm: Any) -> Iterator[States]:
    yield States(llm, False)


@contextlib.contextmanager
def _pefts_layers(_model: Any, *, seed: int = 0, **_: Any) -> Iterator[InputDropout]:
    yield InputDropout(seed)


class Ablation:
    """What is changed: functions of the trainer, its configuration, its recipe, and which tokens are predicted."""

    def __init__(
        self,
        changed: dict[str, Callable[..., Any]] | None = None,
        configuration: MemoryLayout | None = None,
        *,
        recipe: dict[str, Any] | None = None,
        prompts: bool = False,
    ) -> None:
        self._changed = changed or {}
        self.configuration = configuration
        self.recipe = recipe or {}
        self.prompts = prompts

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """For as long as a run takes."""
        with contextlib.ExitStack() as stack:
            for name, instead in self._changed.items():
                stack.enter_context(mock.patch.object(trainer, name, instead))
            yield


def _nothing(*_: Any, **__: Any) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


ABLATIONS = {
    "ours": Ablation(),
    "logits of prompts, too": Ablation(prompts=True),
    "padded": Ablation({"packing": _padded}),
    "PEFT's layers": Ablation({"lean_layers": _pefts_layers}),
    "transformers' norms": Ablation({"lean_norms": _nothing}),
    "lean heap": Ablation(configuration=MemoryLayout(lean_heap=True)),
    "all blocks recomputed": Ablation(configuration=MemoryLayout(recomputed_blocks=1000)),
    "6 blocks recomputed": Ablation(configuration=MemoryLayout(recomputed_blocks=6)),
    "micro-batches of 512 tokens": Ablation(configuration=MemoryLayout(micro_batch_tokens=512)),
    "micro-batches of 256 tokens": Ablation(configuration=MemoryLayout(micro_batch_tokens=256)),
    "weights kept dequantized": Ablation(configuration=MemoryLayout(resident_bytes=10**12)),
    "Liger-Kernel": Ablation(recipe={"liger": True}),
    "fused NF4 products": Ablation(recipe={"fused": True}),
    "top 4 blocks": Ablation(recipe={"top": 4}),
    "top 4 blocks, states in 8 bits": Ablation(configuration=MemoryLayout(state_bits=8), recipe={"top": 4}),
}
