"""Keep what the base model knows.

Every step also sees a few general sets, on which the adapter must say what the base model says.

Learning without forgetting (Li and Hoiem, ECCV 2016) by the base model's own predictions: no reference is learned, so a
better model is not taught a worse one's style.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from edgepers.model.language_model import LanguageModel
from edgepers.train.beside import Beside
from edgepers.train.loss import chunk_rows, log_shares

__all__ = ["Rehearsal"]

TOP = 64  # most likely next tokens that are kept of each prediction; all others count as one
WEIGHT = 1.0  # of a step's loss, against 1 for the owner's sets (benchmarks/LOG.md)


class Rehearsal(Beside):
    """General sets: KL(base || adapted) in nats, over the top tokens and the rest as one, a mean over tokens."""

    @staticmethod
    def said_by_base(llm: LanguageModel, states: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Log shares [n, k] and tokens int32 [n, k] of the likeliest next tokens at n places."""
        found: list[tuple[Tensor, Tensor]] = []
        for part in states.split(chunk_rows(llm.vocabulary)):
            logits = llm.head(part).float()
            top = logits.topk(min(TOP, logits.shape[1] - 1))
            largest = top.values[:, :1]
            total = (
                logits.sub_(largest).exp_().sum(1, keepdim=True)
            )  # where they stand: a second array of V numbers a row is much
            found.append((top.values - largest - total.log(), top.indices.to(torch.int32)))
        shares, tokens = zip(*found, strict=True)
        return torch.cat(shares), torch.cat(tokens)

    def loss(self, step: int, chosen: Sequence[int]) -> Callable[[Tensor, slice], Tensor]:
        """Weighted divergence of the step's `chosen` sets; all of the step's tokens weigh the same."""
        sets = [self._plan[step][i] for i in chosen]
        base = torch.cat([self._base[i][0] for i in sets])
        token = torch.cat([self._base[i][1] for i in sets]).long()
        weight = WEIGHT / sum(len(self._base[i][0]) for i in self._plan[step])

        def divergence(logits: Tensor, chunk: slice) -> Tensor:
            own = log_shares(logits, token[chunk])
            return weight * F.kl_div(_with_rest(own), _with_rest(base[chunk]), log_target=True, reduction="sum")

        return divergence


def _with_rest(log_shares: Tensor) -> Tensor:
    """[n, k] log shares -> [n, k + 1]: the share of everything else comes last."""
    rest = (1 - log_shares.exp().sum(1, keepdim=True)).clamp_min(1e-6).log()
    return torch.cat([log_shares, rest], 1)
