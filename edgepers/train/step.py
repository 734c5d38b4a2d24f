"""One optimizer step's gradient.

Its sets run in packed micro-batches of whole sets, whose losses add up to means over tokens.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from edgepers.model.weights import CausalModel, Example
from edgepers.train.frozen_linear import InputDropout
from edgepers.train.frozen_prefix import FrozenPrefix
from edgepers.train.loss import cross_entropy, head_loss
from edgepers.train.packing import Packed, bins, pack
from edgepers.train.rehearsal import Rehearsal

__all__ = ["backward", "own_losses"]


def backward(
    llm: CausalModel,
    states_of: Callable[[Packed], Tensor],
    examples: Sequence[Example],
    *,
    micro_batch_tokens: int,
    rehearsal: Rehearsal | None = None,
    step: int = 0,
    lower: FrozenPrefix | None = None,
    dropout: InputDropout | None = None,
    between: Callable[[], None] | None = None,
    shared: int = 0,
) -> Tensor:
    """Add the gradient of the mean loss over all response tokens of a step, and of what is rehearsed in it.

    Args:
        llm: with an adapter.
        states_of: from `packing`.
        examples: the step's own sets; no token of theirs weighs more than another, whatever micro-batch it is in.
        micro_batch_tokens: of one forward and backward pass, at most; a longer set has one of its own.
        rehearsal: general sets beside them.
        step: from 0.
        lower: caches the states of the layers below the adapted ones.
        dropout: begins anew with each micro-batch.
        between: called before each micro-batch; it may take its time.
        shared: tokens that every set of the run begins with, computed once a micro-batch.

    Returns:
        float32 [], the examples' loss in nats a response token, before anything is rehearsed.
    """
    general = rehearsal.examples(step) if rehearsal is not None else []
    everything, own = [*examples, *general], len(examples)
    weight = 1 / sum(example.response_tokens for example in examples)
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
        rows = sum(examples[i].response_tokens for i in chosen if i < own)
        loss = head_loss(states[:rows], llm.head, cross_entropy(packed.targets[:rows], weight), llm.vocabulary)
        total += loss.detach()
        if rehearsal is not None and chosen[-1] >= own:
            divergence = rehearsal.loss(step, [i - own for i in chosen if i >= own])
            loss = loss + head_loss(states[rows:], llm.head, divergence, llm.vocabulary)
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
        negative = cross_entropy(packed.targets, 1 / example.response_tokens)
        losses.append(head_loss(states_of(packed), llm.head, negative, llm.vocabulary).item())
    return losses
