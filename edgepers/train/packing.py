"""Sets end to end, without padding: micro-batches filled by tokens."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from edgepers.llm import Example, LanguageModel
from edgepers.train.attention import NAME, packed_attention

__all__ = ["Packed", "bins", "pack", "packing"]

TOLERANCE = (
    0.1  # of states in a pack against the same sets padded, as a share of the largest: bfloat16 is off by .01, another set's words by .5
)


@dataclass(frozen=True, slots=True)
class Packed:
    """A micro-batch of T tokens: its sets stand end to end, each with positions from 0.

    Attributes:
        ids: int64 [1, T].
        positions: int64 [1, T], within each set.
        lengths: tokens of each set; they add up to T.
        rows: int64 [n], which of the T states predict a token of a response.
        targets: int64 [n], those tokens.
    """

    ids: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    rows: Tensor
    targets: Tensor


def bins(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Indices of sets in groups of at most `most` tokens, longest first into the first that has room; a longer set is alone."""
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


def pack(examples: Sequence[Example], device: torch.device) -> Packed:
    """Put sets end to end. The last token of a set predicts nothing, so it is left out, as is what a prompt's tokens predict."""
    ids: list[int] = []
    positions: list[int] = []
    rows: list[int] = []
    targets: list[int] = []
    lengths: list[int] = []
    for example in examples:
        seen = example.ids[:-1]
        rows += range(len(ids) + example.prompt_tokens - 1, len(ids) + len(seen))
        targets += example.ids[example.prompt_tokens :]
        ids += seen
        positions += range(len(seen))
        lengths.append(len(seen))
    ids_, positions_, rows_, targets_ = (torch.tensor(values, device=device) for values in (ids, positions, rows, targets))
    return Packed(ids_[None], positions_[None], tuple(lengths), rows_, targets_)


@contextmanager
def packing(llm: LanguageModel) -> Iterator[Callable[[Packed], Tensor]]:
    """The states that predict responses, [n, d] for a `Packed`: packed where the model keeps the sets of a pack apart, padded elsewhere.

    Whether it does is seen on two sets; models whose attention transformers does not look up by name do not.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    decoder, config = llm.decoder, llm.decoder.config
    before = config._attn_implementation
    probe = [Example((5, 6, 7, 8, 9, 10), 1, False), Example((8, 7, 6, 5), 1, False)]
    try:
        truth = _evaluated(_padded_states, llm, pack(probe, llm.device))
        decoder.set_attn_implementation(NAME)
        packs = config._attn_implementation == NAME and _same(_evaluated(_packed_states, llm, pack(probe, llm.device)), truth)
        if packs:
            yield partial(_packed_states, llm)
            return
    finally:
        decoder.set_attn_implementation(before)
    yield partial(_padded_states, llm)


def _packed_states(llm: LanguageModel, packed: Packed) -> Tensor:
    out = llm.decoder(input_ids=packed.ids, position_ids=packed.positions, use_cache=False, set_lengths=packed.lengths)
    states: Tensor = out.last_hidden_state[0][packed.rows]
    return states


def _padded_states(llm: LanguageModel, packed: Packed) -> Tensor:
    ids = pad_sequence(list(packed.ids[0].split(packed.lengths)), batch_first=True)
    mask = pad_sequence([torch.ones_like(part) for part in packed.ids[0].split(packed.lengths)], batch_first=True)
    states: Tensor = llm.decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    return states[mask.bool()][packed.rows]


@torch.no_grad()
def _evaluated(states_of: Callable[[LanguageModel, Packed], Tensor], llm: LanguageModel, packed: Packed) -> Tensor | None:
    """States without dropout; None from families that hand neither positions nor lengths on."""
    training = llm.decoder.training
    llm.decoder.eval()
    try:
        return states_of(llm, packed).float()
    except (TypeError, ValueError, KeyError):
        return None
    finally:
        llm.decoder.train(training)


def _same(states: Tensor | None, truth: Tensor | None) -> bool:
    return states is not None and truth is not None and bool((states - truth).abs().max() <= TOLERANCE * truth.abs().max())
