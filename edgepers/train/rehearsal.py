"""Keep what the base model knows: every training step also sees a few general sets, on which the adapter must say what the base model says.

Learning without forgetting (Li and Hoiem, ECCV 2016) by the base model's own predictions: no reference is learned, so a better
model is not taught a worse one's style.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from edgepers.llm import LanguageModel, length_groups
from edgepers.train.batching import batches

__all__ = ["Rehearsal"]

TOP = 64  # most likely next tokens that are kept of each prediction; all others count as one
WEIGHT = 0.5  # of a step's loss, against 1 for the owner's sets (benchmarks/LOG.md)
MAX_TOKENS = 128
GROUP_TOKENS = 256  # padded tokens whose logits stand in memory at once while the base model is asked


class Rehearsal:
    """The general sets of a whole training run with the base model's predictions on them.

    Args:
        llm: asked once for each set that is needed, without an adapter.
        pairs: (question, response) of the general sets.
        size: sets a step; 0 for none.
        steps: optimizer steps of the run.
        seed: of the order.
    """

    def __init__(self, llm: LanguageModel, pairs: Sequence[tuple[str, str]], size: int, steps: int, seed: int) -> None:
        self._llm = llm
        self._plan = list(batches(len(pairs), size, steps, seed)) if size and pairs else [[] for _ in range(steps)]
        self._examples = {i: llm.example(*pairs[i], MAX_TOKENS) for i in sorted({i for chosen in self._plan for i in chosen})}
        self._predictions: dict[int, tuple[Tensor, Tensor]] = {}
        names = list(self._examples)
        for group in length_groups([len(self._examples[i].ids) for i in names], GROUP_TOKENS):
            self._ask([names[i] for i in group])

    @torch.no_grad()
    def _ask(self, chosen: Sequence[int]) -> None:
        examples = [self._examples[i] for i in chosen]
        ids, mask, where = self._llm.pad_examples(examples)
        log_shares = self._llm.logits_at(ids[:, :-1], mask[:, :-1], where).float().log_softmax(-1)
        top = log_shares.topk(min(TOP, log_shares.shape[1] - 1))
        lengths = [len(example.ids) - example.prompt_tokens for example in examples]
        for i, log_share, token in zip(chosen, top.values.split(lengths), top.indices.split(lengths), strict=True):
            self._predictions[i] = log_share.clone(), token.to(torch.int32)

    def tokens(self, step: int) -> int:
        """Real tokens of one step (from 0)."""
        return sum(len(self._examples[i].ids) for i in self._plan[step])

    def loss(self, step: int) -> Tensor | None:
        """Weighted KL(base || adapted), mean nats a response token, over the top tokens and the rest as one; None: nothing to do."""
        chosen = self._plan[step]
        if not chosen:
            return None
        ids, mask, where = self._llm.pad_examples([self._examples[i] for i in chosen])
        log_shares = self._llm.logits_at(ids[:, :-1], mask[:, :-1], where).float().log_softmax(-1)
        base = torch.cat([self._predictions[i][0] for i in chosen])
        token = torch.cat([self._predictions[i][1] for i in chosen]).long()
        own = log_shares.gather(1, token)
        divergence = F.kl_div(_with_rest(own), _with_rest(base), log_target=True, reduction="batchmean")
        return WEIGHT * divergence


def _with_rest(log_shares: Tensor) -> Tensor:
    """[n, k] log shares -> [n, k + 1]: the share of everything else comes last."""
    rest = (1 - log_shares.exp().sum(1, keepdim=True)).clamp_min(1e-6).log()
    return torch.cat([log_shares, rest], 1)
