"""Windows in plain torch: rows that count, windows of rows, and one pass over them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from edgepers.ops.windowed import WINDOW

TINY = 1e-30  # a smaller float32 sum of squares has lost digits to underflow
_TILE_ELEMENTS = 1 << 20  # a float32 tile of 4 MB stays in the last-level cache
_SCREEN = 8  # leading features that tell a constant row from others without reading the rest


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of a ragged batch, in the order of its sets.

    Args:
        rows: [W, 16] int64, rows of `hidden`; a short window is filled up with its first row.
        valid: [W, 16] bool, False where a row only fills up.
        per_set: [B] int64, windows of each set.
    """

    rows: Tensor
    valid: Tensor
    per_set: Tensor

    def tile(
        self, part: slice | Tensor, hidden: Tensor, center: Tensor | None, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """[w, 16, d] rows minus center of some of the windows, zeros where a short window is filled up."""
        rows, valid = self.rows[part], self.valid[part]
        tile = centred(hidden.index_select(0, rows.flatten()), center, dtype)
        tile[~valid.flatten()] = 0
        return tile.view(*rows.shape, hidden.shape[1])


def centred(rows: Tensor, center: Tensor | None, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows minus the center in `dtype`. float32 may overflow; float64 holds every float32 difference and its square."""
    rows = rows.to(dtype)
    return rows if center is None else rows - center.to(dtype)


def live_rows(hidden: Tensor, center: Tensor | None) -> Tensor:
    """[N] bool: False for rows of zeros (padding) and rows equal to the center."""
    live = torch.ones(hidden.shape[0], dtype=torch.bool, device=hidden.device)
    for row in (hidden.new_zeros(hidden.shape[1]), center):
        if row is None:
            continue
        constant = row.float()
        suspects = (hidden[:, :_SCREEN].float() == constant[:_SCREEN]).all(1).nonzero().squeeze(1)
        live[suspects[(hidden[suspects].float() == constant).all(1)]] = False
    return live


def cut_windows(hidden: Tensor, offsets: Tensor, center: Tensor | None) -> Windows:
    """Cut the live rows of each set into windows of 16 consecutive ones; the last may be short."""
    device = hidden.device
    live = live_rows(hidden, center)
    rank = torch.cat([live.new_zeros(1, dtype=torch.int64), live.cumsum(0)])[offsets.to(device)]
    counts = rank.diff()  # live rows of each set
    per_set = (counts + WINDOW - 1) // WINDOW
    total = int(per_set.sum())
    owner = torch.repeat_interleave(torch.arange(len(counts), device=device), per_set, output_size=total)
    within = WINDOW * (torch.arange(total, device=device) - (per_set.cumsum(0) - per_set)[owner])
    slots = torch.arange(WINDOW, device=device)
    valid = slots < (counts[owner] - within)[:, None]
    first = (rank[:-1][owner] + within)[:, None]
    return Windows(live.nonzero().squeeze(1)[torch.where(valid, first + slots, first)], valid, per_set)


def window_pass(
    hidden: Tensor, windows: Windows, center: Tensor | None, *, grams: bool, sums: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gram matrices [W, 16, 16] and row sums [W, d] of all windows in float32, each hidden state read once.

    Every window is a product of one fixed size, so its result does not depend on its neighbours.
    """
    total, width = len(windows.rows), hidden.shape[1]
    gram = hidden.new_empty((total, WINDOW, WINDOW), dtype=torch.float32) if grams else None
    partial = hidden.new_empty((total, width), dtype=torch.float32) if sums else None
    step = max(1, _TILE_ELEMENTS // (WINDOW * max(width, 1)))
    for start in range(0, total, step):
        part = slice(start, start + step)
        tile = windows.tile(part, hidden, center)
        if gram is not None:
            torch.bmm(tile, tile.mT, out=gram[part])
        if partial is not None:
            torch.sum(tile, 1, out=partial[part])
    return gram, partial


def segment_sum(values: Tensor, lengths: Tensor) -> Tensor:
    """Sum runs of `lengths` consecutive entries in float64, each in order: [W, ...] and [B] to [B, ...]."""
    if not len(lengths) or not len(values):
        return values.new_zeros((len(lengths), *values.shape[1:]), dtype=torch.float64)
    return torch.segment_reduce(values.double(), "sum", lengths=lengths, axis=0, initial=0.0)
