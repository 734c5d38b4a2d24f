"""Make answers that were called wrong less likely where they were given.

The rejected half of APO-zero (D'Oosterlinck et al. 2024, "Anchored Preference Optimization"), token by token: the share
of each token of a wrong answer is pushed below what the base model gives it, the less the further it has come. It is
bounded, so no answer is unlearned without end, as plain unlikelihood would.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from edgepers.model.language_model import LanguageModel
from edgepers.train.beside import Beside
from edgepers.train.loss import chunk_rows, log_shares

__all__ = ["Contrast"]


class Contrast(Beside):
    """Wrong answers: 2 sigmoid(log p - log p_base) of each token, a mean over a set's, then over the step's sets."""

    @staticmethod
    def said_by_base(llm: LanguageModel, states: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Log share [n] and number [n] of the token that stands at each of n places."""
        rows = chunk_rows(llm.vocabulary)
        shares = [
            log_shares(llm.head(part), of[:, None])[:, 0]
            for part, of in zip(states.split(rows), targets.split(rows), strict=True)
        ]
        return torch.cat(shares), targets

    def loss(self, step: int, chosen: Sequence[int]) -> Callable[[Tensor, slice], Tensor]:
        """The loss of the step's `chosen` sets; 1 for a whole step where the adapter says what the base model does."""
        sets = [self._base[self._plan[step][i]] for i in chosen]
        base, token = (torch.cat(parts) for parts in zip(*sets, strict=True))
        count = len(self._plan[step])
        weight = torch.cat([torch.full_like(shares, 2 / (count * len(shares))) for shares, _ in sets])

        def less_likely(logits: Tensor, chunk: slice) -> Tensor:
            own = log_shares(logits, token[chunk, None])[:, 0]
            return (weight[chunk] * torch.sigmoid(own - base[chunk])).sum()

        return less_likely
