"""One optimizer step's gradient.

Its sets run in packed micro-batches of whole sets, whose losses add up to means over tokens.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, chain, pairwise

import torch
from torch import Tensor

from edgepers.model.weights import CausalModel, Example
from edgepers.train.beside import Beside
from edgepers.train.frozen_linear import InputDropout
from edgepers.train.frozen_prefix import FrozenPrefix
from edgepers.train.loss import cross_entropy, head_loss
from edgepers.train.packing import Packed, bins, pack

__all__ = ["backward", "own_losses"]


def backward(
    llm: CausalModel,
    states_of: Callable[[Packed], Tensor],
    examples: Sequence[Example],
    *,
    micro_batch_tokens: int,
    beside: Sequence[Beside] = (),
    step: int = 0,
    lower: FrozenPrefix | None = None,
    dropout: InputDropout | None = None,
    between: Callable[[], None] | None = None,
    shared: int = 0,
) -> Tensor:
    """Add the gradient of a step's loss, the mean over its sets of each set's mean over its response's tokens.

    So a fact of a few words weighs what a long answer weighs. The losses of what stands beside them are added.

    Args:
        llm: with an adapter.
        states_of: from `packing`.
        examples: the step's own sets; what each weighs does not depend on its micro-batch.
        micro_batch_tokens: of one forward and backward pass, at most; a longer set has one of its own.
        beside: other sets of the step, each kind with a loss of its own.
        step: from 0.
        lower: caches the states of the layers below the adapted ones.
        dropout: begins anew with each micro-batch.
        between: called before each micro-batch; it may take its time.
        shared: tokens that every set of the run begins with, computed once a micro-batch.

    Returns:
        float32 [], the examples' loss in nats a response token, without what stands beside them.
    """
    others = [one.examples(step) for one in beside]
    everything, own = [*examples, *chain.from_iterable(others)], len(examples)
    ends = list(accumulate(map(len, others), initial=own))
    total = torch.zeros((), device=llm.device)
    for number, group in enumerate(
        bins([len(example.ids) - 1 - shared for example in everything], micro_batch_tokens - shared)
    ):
        if between is not None:
            between()
        chosen = sorted(group)  # one's own first
        here = [everything[i] for i in chosen]
        packed = pack(here, llm.device, shared)
        if dropout is not None:
            dropout.begin(
                step, number, packed.padded_tokens if dropout.padded else packed.ids.numel(), llm.dtype, llm.device
            )
        if lower is not None:
            lower.hand_over(here, llm.dtype, shared)
        states = states_of(packed)
        weights = _weights([examples[i] for i in chosen if i < own], own, llm.device)
        rows = len(weights)
        loss = head_loss(states[:rows], llm.head, cross_entropy(packed.targets[:rows], weights), llm.vocabulary)
        total += loss.detach()
        for kind, (first, end) in zip(beside, pairwise(ends), strict=True):
            mine = [i for i in chosen if first <= i < end]
            if mine:
                more = sum(everything[i].response_tokens for i in mine)
                of_kind = kind.loss(step, [i - first for i in mine])
                loss = loss + head_loss(states[rows : rows + more], llm.head, of_kind, llm.vocabulary)
                rows += more
        del states
        loss.backward()
    return total


@torch.no_grad()
def own_losses(
    llm: CausalModel,
    states_of: Callable[[Packed], Tensor],
    examples: Sequence[Example],
    *,
    step: int = 0,
    lower: FrozenPrefix | None = None,
    dropout: InputDropout | None = None,
) -> list[float]:
    """Each example's loss alone, in nats a response token; arguments as for `backward`."""
    losses = []
    for example in examples:
        packed = pack([example], llm.device)
        if dropout is not None:
            dropout.begin(step, 0, packed.ids.numel(), llm.dtype, llm.device)
        if lower is not None:
            lower.hand_over([example], llm.dtype)
        negative = cross_entropy(packed.targets, _weights([example], 1, llm.device))
        losses.append(head_loss(states_of(packed), llm.head, negative, llm.vocabulary).item())
    return losses


def _weights(examples: Sequence[Example], sets: int, device: torch.device) -> Tensor:
    """What each response token of these examples weighs in a mean over so many sets."""
    tokens = torch.tensor([example.response_tokens for example in examples], dtype=torch.int64)
    return (1 / (sets * tokens)).repeat_interleave(tokens).to(device)
