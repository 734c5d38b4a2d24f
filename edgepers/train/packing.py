"""Sets end to end, without padding, after the beginning that all share: micro-batches filled by tokens."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from edgepers.model.weights import CausalModel, Example
from edgepers.train.attention import NAME, packed_attention

__all__ = ["ROUNDED", "Packed", "States", "bins", "common_beginning", "pack", "packing", "take_packed_attention"]

ROUNDED = 64
# of states in a pack against the same sets padded, as a share of the largest: bfloat16 is off by .01, another set's
# words by .5
TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class Packed:
    """A micro-batch of T tokens: what its sets begin with, once; the sets' own tokens end to end; a few idle tokens.

    Each set has positions as if it stood alone.

    The idle ones make T a multiple of `ROUNDED`: matrix libraries keep code and memory for every new shape.

    Attributes:
        ids: int64 [1, T].
        positions: int64 [1, T], within each set.
        lengths: each set's own tokens; without shared and idle tokens.
        rows: int64 [n], which of the T states predict a token of a response.
        targets: int64 [n], those tokens.
        shared: tokens that all sets begin with, which stand first.
    """

    ids: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    rows: Tensor
    targets: Tensor
    shared: int = 0

    @property
    def padded_tokens(self) -> int:
        """Tokens of the same sets one below the other, each as long as the longest."""
        return len(self.lengths) * (self.shared + max(self.lengths))


def bins(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Group indices of sets so that each group has at most `most` tokens.

    The longest go first, into the first group that has room; a longer set is alone.
    """
    groups: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        for group, left in enumerate(room):
            if lengths[i] <= left:
                groups[group].append(i)
                room[group] -= lengths[i]
                break
        else:
            groups.append([i])
            room.append(most - lengths[i])
    return groups


def common_beginning(examples: Sequence[Example]) -> int:
    """How many tokens of their prompts all examples begin with: the template's own, a system prompt among them."""
    if len(examples) < 2:
        return 0
    first, last = min(example.ids for example in examples), max(example.ids for example in examples)
    most = min(example.prompt_tokens for example in examples) - 1  # a set's own rows predict all of its response
    return next((i for i in range(most) if first[i] != last[i]), most)


def pack(examples: Sequence[Example], device: torch.device, shared: int = 0) -> Packed:
    """Put sets end to end, after the `shared` tokens that all of them begin with.

    The last token of a set predicts nothing, so it is left out, as is what a prompt's tokens predict.
    """
    ids = list(examples[0].ids[:shared])
    positions = list(range(shared))
    rows: list[int] = []
    targets: list[int] = []
    lengths: list[int] = []
    for example in examples:
        seen = example.ids[shared:-1]
        rows += range(len(ids) + example.prompt_tokens - shared - 1, len(ids) + len(seen))
        targets += example.ids[example.prompt_tokens :]
        ids += seen
        positions += range(shared, shared + len(seen))
        lengths.append(len(seen))
    idle = -len(ids) % ROUNDED
    ids += [0] * idle
    positions += range(idle)
    ids_, positions_, rows_, targets_ = (
        torch.tensor(values, device=device) for values in (ids, positions, rows, targets)
    )
    return Packed(ids_[None], positions_[None], tuple(lengths), rows_, targets_, shared)


@dataclass(frozen=True, slots=True)
class States:
    """Hidden states where they predict responses, [n, d], of what is packed.

    Attributes:
        llm: whose.
        packs: sets go through the model as they are packed; else they are padded for it.
        shares: what they all begin with is computed once for a pack.
    """

    llm: CausalModel
    packs: bool
    shares: bool = False

    def shared(self, examples: Sequence[Example]) -> int:
        """Tokens at the beginning of these examples that are computed once for each pack of them."""
        return common_beginning(examples) if self.shares else 0

    def __call__(self, packed: Packed) -> Tensor:
        """Return the states [n, d] of a packed micro-batch."""
        states: Tensor
        if self.packs:
            out = self.llm.decoder(
                input_ids=packed.ids,
                position_ids=packed.positions,
                use_cache=False,
                set_lengths=packed.lengths,
                shared=packed.shared,
            )
            states = out.last_hidden_state[0]
        else:
            sets = packed.ids[0][: sum(packed.lengths)].split(packed.lengths)
            mask = pad_sequence([torch.ones_like(ids) for ids in sets], batch_first=True)
            out = self.llm.decoder(
                input_ids=pad_sequence(list(sets), batch_first=True), attention_mask=mask, use_cache=False
            )
            states = torch.cat([row[:n] for row, n in zip(out.last_hidden_state, packed.lengths, strict=True)])
        return states[packed.rows]


def take_packed_attention(decoder: Any) -> bool:
    """Let a decoder's attention be that of packed sets; False where transformers does not look it up by name."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    decoder.set_attn_implementation(NAME)
    return bool(decoder.config._attn_implementation == NAME)


@contextmanager
def packing(llm: CausalModel) -> Iterator[States]:
    """Let a model take packed sets where it keeps those of a pack apart, which two sets show; others are padded for it.

    Models whose attention transformers does not look up by name do not.
    """
    decoder = llm.decoder
    before = decoder.config._attn_implementation
    probe = [Example((5, 6, 7, 8, 9, 10), 3, False), Example((5, 6, 8, 7, 6), 3, False)]
    whole = pack(probe, llm.device)
    try:
        truth = _evaluated(States(llm, False), whole)
        if take_packed_attention(decoder) and _same(_evaluated(States(llm, True), whole), truth):
            once = pack(probe, llm.device, common_beginning(probe))
            # On a GPU the kernel for many sets at once takes each whole.
            shares = llm.device.type != "cuda" and _same(_evaluated(States(llm, True), once), truth)
            yield States(llm, True, shares)
            return
    finally:
        decoder.set_attn_implementation(before)
    yield States(llm, False)


@torch.no_grad()
def _evaluated(states_of: States, packed: Packed) -> Tensor | None:
    """States without dropout; None from families that hand neither positions nor lengths on."""
    decoder = states_of.llm.decoder
    training = decoder.training
    decoder.eval()
    try:
        return states_of(packed).float()
    except (TypeError, ValueError, KeyError):
        return None
    finally:
        decoder.train(training)


def _same(states: Tensor | None, truth: Tensor | None) -> bool:
    return (
        states is not None and truth is not None and bool((states - truth).abs().max() <= TOLERANCE * truth.abs().max())
    )
