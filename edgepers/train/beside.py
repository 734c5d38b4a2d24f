"""Sets that stand beside the owner's own in each optimizer step, with a loss against what the base model says."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from edgepers.model.language_model import Example, LanguageModel
from edgepers.train.batching import batches
from edgepers.train.layout import MICRO_BATCH_TOKENS
from edgepers.train.packing import Packed, bins, pack

__all__ = ["Beside"]

MAX_TOKENS = 64  # of a set: what comes first in an answer is what a fact of the owner's would displace


class Beside(ABC):
    """Sets of a whole training run, some of them in each step, and what the base model says where they respond.

    Args:
        llm: asked once for each set that is needed, without an adapter.
        states_of: its states where they predict responses, from `packing`.
        pairs: (question, response).
        size: sets a step; 0 for none.
        steps: optimizer steps of the run.
        seed: of the order.
        micro_batch_tokens: of one pass, at most.
    """

    @torch.no_grad()
    def __init__(
        self,
        llm: LanguageModel,
        states_of: Callable[[Packed], Tensor],
        pairs: Sequence[tuple[str, str]],
        *,
        size: int,
        steps: int,
        seed: int,
        micro_batch_tokens: int = MICRO_BATCH_TOKENS,
    ) -> None:
        self._plan = list(batches(len(pairs), size, steps, seed)) if size and pairs else [[] for _ in range(steps)]
        self._examples = {
            i: llm.example(*pairs[i], MAX_TOKENS) for i in sorted({i for chosen in self._plan for i in chosen})
        }
        self._base: dict[int, tuple[Tensor, ...]] = {}
        names = list(self._examples)
        for group in bins([len(self._examples[i].ids) for i in names], micro_batch_tokens):
            chosen = [self._examples[names[i]] for i in group]
            packed = pack(chosen, llm.device)
            said = self.said_by_base(llm, states_of(packed), packed.targets)
            sizes = [example.response_tokens for example in chosen]
            for i, *of_set in zip(group, *(x.split(sizes) for x in said), strict=True):
                self._base[names[i]] = tuple(x.clone() for x in of_set)

    @staticmethod
    @abstractmethod
    def said_by_base(llm: LanguageModel, states: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """What is kept of the base model's predictions at n states: tensors of n rows each."""

    @abstractmethod
    def loss(self, step: int, chosen: Sequence[int]) -> Callable[[Tensor, slice], Tensor]:
        """The loss of the step's `chosen` sets, end to end, as `head_loss` takes it.

        All sets of the step add up to a mean.
        """

    def examples(self, step: int) -> list[Example]:
        """The sets of one step (from 0)."""
        return [self._examples[i] for i in self._plan[step]]

    @property
    def all_examples(self) -> list[Example]:
        """Every set of the run, once."""
        return list(self._examples.values())
