"""Keep what the base model knows.

Every step also sees a few general sets, on which the adapter must say what the base model says.

Learning without forgetting (Li and Hoiem, ECCV 2016) by the base model's own predictions: no reference is learned, so a
better model is not taught a worse one's style.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from edgepers.model.language_model import Example, LanguageModel
from edgepers.train.batching import batches
from edgepers.train.layout import MICRO_BATCH_TOKENS
from edgepers.train.loss import chunk_rows, log_shares
from edgepers.train.packing import Packed, bins, pack

__all__ = ["Rehearsal"]

TOP = 64  # most likely next tokens that are kept of each prediction; all others count as one
WEIGHT = 0.5  # of a step's loss, against 1 for the owner's sets (benchmarks/LOG.md)
MAX_TOKENS = 64  # of a set: what comes first in an answer is what a fact of the owner's would displace


class Rehearsal:
    """The general sets of a whole training run with the base model's predictions on them.

    Args:
        llm: asked once for each set that is needed, without an adapter.
        states_of: its states where they predict responses, from `packing`.
        pairs: (question, response) of the general sets.
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
        self._predictions: dict[int, tuple[Tensor, Tensor]] = {}
        names = list(self._examples)
        for group in bins([len(self._examples[i].ids) for i in names], micro_batch_tokens):
            chosen = [self._examples[names[i]] for i in group]
            top = _predictions(llm, states_of(pack(chosen, llm.device)))
            sizes = [example.response_tokens for example in chosen]
            for i, shares, tokens in zip(group, *(x.split(sizes) for x in top), strict=True):
                self._predictions[names[i]] = shares.clone(), tokens.clone()

    def examples(self, step: int) -> list[Example]:
        """The sets of one step (from 0)."""
        return [self._examples[i] for i in self._plan[step]]

    @property
    def all_examples(self) -> list[Example]:
        """Every set of the run, once."""
        return list(self._examples.values())

    def loss(self, step: int, chosen: Sequence[int]) -> Callable[[Tensor, slice], Tensor]:
        """Weighted KL(base || adapted) of the step's `chosen` sets, end to end, as `head_loss` takes it.

        In nats, over the top tokens and the rest as one; all sets of the step add up to a mean over their response
        tokens.
        """
        sets = [self._plan[step][i] for i in chosen]
        base = torch.cat([self._predictions[i][0] for i in sets])
        token = torch.cat([self._predictions[i][1] for i in sets]).long()
        weight = WEIGHT / sum(len(self._predictions[i][0]) for i in self._plan[step])

        def divergence(logits: Tensor, chunk: slice) -> Tensor:
            own = log_shares(logits, token[chunk])
            return weight * F.kl_div(_with_rest(own), _with_rest(base[chunk]), log_target=True, reduction="sum")

        return divergence


def _predictions(llm: LanguageModel, states: Tensor) -> tuple[Tensor, Tensor]:
    """Log shares [n, k] and tokens [n, k] of the likeliest next tokens at n places."""
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


def _with_rest(log_shares: Tensor) -> Tensor:
    """[n, k] log shares -> [n, k + 1]: the share of everything else comes last."""
    rest = (1 - log_shares.exp().sum(1, keepdim=True)).clamp_min(1e-6).log()
    return torch.cat([log_shares, rest], 1)
