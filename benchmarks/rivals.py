"""What a user would write instead of the kernels, in torch.

None of it looks for dead rows or guards float32's range.
"""

import math

import torch
from torch import Tensor

WINDOW = 16


def windows_of(offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows [W, 16] of all windows, which of them are real [W, 16], and the set of each window [W]."""
    lengths = offsets.diff()
    per_set = (lengths + WINDOW - 1) // WINDOW
    owner = torch.repeat_interleave(torch.arange(len(lengths)), per_set)
    within = WINDOW * (torch.arange(len(owner)) - (per_set.cumsum(0) - per_set)[owner])
    place = within[:, None] + torch.arange(WINDOW)
    real = place < lengths[owner][:, None]
    return torch.where(real, offsets[:-1][owner][:, None] + place, 0), real, owner


def finish(gram: Tensor, sums: Tensor, real: Tensor, owner: Tensor, sets: int) -> tuple[Tensor, Tensor]:
    """Entropies and embeddings from Gram matrices [W, 16, 16] and row sums [W, d]."""
    gram = gram.float()
    inverse = torch.where(real, gram.diagonal(dim1=1, dim2=2).clamp_min(1e-30).rsqrt(), 0)
    cosines = gram * inverse[:, :, None] * inverse[:, None, :]
    rows = real.sum(1).float()
    entropy = -(cosines.square().sum((1, 2)) / rows.square()).log() / rows.clamp_min(2).log()
    weight = rows * (rows > 1)
    zero = gram.new_zeros(sets)
    value = zero.index_add(0, owner, torch.nan_to_num(entropy) * weight) / zero.index_add(0, owner, weight).clamp_min(1)
    total = sums.new_zeros(sets, sums.shape[1]).index_add(0, owner, sums)
    return value.clamp(0, 1), torch.nn.functional.normalize(total, dim=1)


def batched(
    hidden: Tensor, offsets: Tensor, center: Tensor | None, plan: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """No padding, input dtype, windows batched: all windows gathered at once, one product for all."""
    rows, real, owner = plan
    tile = hidden[rows]
    if center is not None:
        tile = tile - center.to(hidden.dtype)
    tile = tile * real[:, :, None]
    return finish(tile @ tile.mT, tile.sum(1, dtype=torch.float32), real, owner, len(offsets) - 1)


def tiled(
    hidden: Tensor, offsets: Tensor, center: Tensor | None, plan: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Compute as `batched` does, a megabyte of windows at a time, which is still in the cache for its product."""
    rows, real, owner = plan
    step = max(1, (1 << 20) // (WINDOW * hidden.shape[1] * hidden.element_size()))
    grams, sums = [], []
    for some, valid in zip(rows.split(step), real.split(step), strict=True):
        tile = hidden.index_select(0, some.flatten()).view(*some.shape, -1)
        if center is not None:
            tile = tile - center.to(hidden.dtype)
        if not valid.all():
            tile[~valid] = 0
        grams.append(tile @ tile.mT)
        sums.append(tile.sum(1, dtype=torch.float32))
    return finish(torch.cat(grams), torch.cat(sums), real, owner, len(offsets) - 1)


def padded(hidden: Tensor, offsets: Tensor, center: Tensor | None) -> tuple[Tensor, Tensor]:
    """Every set filled up to the longest, as most code does."""
    sets = [
        rows if center is None else rows - center.to(hidden.dtype) for rows in hidden.split(offsets.diff().tolist())
    ]
    lengths = offsets.diff()
    longest = math.ceil(int(lengths.max()) / WINDOW) * WINDOW
    block = torch.nn.functional.pad(
        torch.nn.utils.rnn.pad_sequence(sets, batch_first=True), (0, 0, 0, longest - int(lengths.max()))
    )
    tile = block.view(-1, WINDOW, hidden.shape[1])
    real = (torch.arange(longest) < lengths[:, None]).view(-1, WINDOW)
    owner = torch.arange(len(lengths)).repeat_interleave(longest // WINDOW)
    return finish(tile @ tile.mT, tile.sum(1, dtype=torch.float32), real, owner, len(lengths))
