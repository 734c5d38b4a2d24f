"""Windowed entropy and mean unit embedding in Triton: one program a window; cutting and finishing in torch."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from edgepers.ops.checks import check_offsets
from edgepers.ops.windowed import WINDOW
from edgepers.ops.windowed.finish import entropy_from_grams, unit_from_sums
from edgepers.ops.windowed.windows import cut_windows

_BLOCK = 128  # features at a time: 16 rows of 128 floats are 8 KB of registers


@triton.jit
def _window_kernel(
    x_ptr, rows_ptr, valid_ptr, center_ptr, gram_ptr, sums_ptr, D,
    CENTER: tl.constexpr, GRAM: tl.constexpr, SUMS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # x: [N, D], rows: [W, 16] int64, valid: [W, 16] int8, center: [D] float32, gram: [W, 16, 16] and sums: [W, D]
    # float32
    window = tl.program_id(0).to(tl.int64)
    slot = tl.arange(0, ROWS)
    row = tl.load(rows_ptr + window * ROWS + slot)
    valid = tl.load(valid_ptr + window * ROWS + slot) != 0
    gram = tl.zeros((ROWS, ROWS), tl.float32)
    for d0 in range(0, D, BLOCK):
        d = d0 + tl.arange(0, BLOCK)
        inside = valid[:, None] & (d[None, :] < D)
        tile = tl.load(x_ptr + row[:, None] * D + d[None, :], mask=inside, other=0.0)
        if CENTER:  # 16-bit rows become float32 ones: a product of 16 bits would lose what the subtraction leaves
            tile = tl.where(inside, tile.to(tl.float32) - tl.load(center_ptr + d, mask=d < D, other=0.0)[None, :], 0.0)
        if GRAM:
            gram = tl.dot(tile, tl.trans(tile), gram, input_precision="ieee")
        if SUMS:
            tl.store(sums_ptr + window * D + d, tl.sum(tile.to(tl.float32), 0), mask=d < D)
    if GRAM:
        tl.store(gram_ptr + (window * ROWS + slot[:, None]) * ROWS + slot[None, :], gram)


def score_triton(
    op: str, hidden: Tensor, offsets: Tensor, center: Tensor | None, *, entropy: bool = True, embedding: bool = True
) -> tuple[Tensor, Tensor]:
    """Entropies [B] and embeddings [B, d] float32 of a dense batch; what is not asked for comes empty.

    Raises:
        ShapeError: offsets that do not cut `hidden` into non-empty sets.
    """
    check_offsets(op, hidden, offsets)
    windows = cut_windows(hidden, offsets, center)
    total, width = len(windows.rows), hidden.shape[1]
    gram = hidden.new_empty((total if entropy else 0, WINDOW, WINDOW), dtype=torch.float32)
    sums = hidden.new_empty((total if embedding else 0, width), dtype=torch.float32)
    if total:
        _window_kernel[(total,)](
            hidden,
            windows.rows,
            windows.valid.to(torch.int8),
            hidden if center is None else center.float().contiguous(),
            gram,
            sums,
            width,
            CENTER=center is not None,
            GRAM=entropy,
            SUMS=embedding,
            ROWS=WINDOW,
            BLOCK=_BLOCK,
        )
    nothing = hidden.new_empty(0, dtype=torch.float32)
    return (
        entropy_from_grams(gram, hidden, windows, center) if entropy else nothing,
        unit_from_sums(sums, hidden, windows, center) if embedding else nothing.view(0, width),
    )
