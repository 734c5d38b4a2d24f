"""A product with a frozen NF4 weight and LoRA's beside it, in one Triton kernel.

The weight is never stored in 16 bits.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from edgepers.train.nf4 import LowRank, NF4Weight

COLUMNS = 64  # of a tile of W: those that share a scale
ROWS = 64  # of a tile of W
LEAST_RANK = 16  # of a tensor core's product


class Tile(NamedTuple):
    """Rows of x that share each dequantized tile of W, for products of up to `most` of them.

    Threads and stages are those without spills on sm_87.
    """

    most: float
    tokens: int
    warps: int
    stages: int


TILES = (Tile(16, 16, 4, 3), Tile(64, 64, 8, 2), Tile(float("inf"), 128, 8, 1))


@triton.jit
def _tile(
    w_ptr,
    scales_ptr,
    values_ptr,
    scale_values_ptr,
    scale_scales_ptr,
    offset,
    row,
    some,
    column_block,
    IN,
    COLUMNS: tl.constexpr,
):
    # [rows, COLUMNS] float32 of W [OUT, IN]: two columns a byte, the first in the high half
    half = tl.arange(0, COLUMNS // 2)
    at = row * (IN // COLUMNS) + column_block  # scales lie as blocks of columns do
    pairs = tl.load(w_ptr + at[:, None] * (COLUMNS // 2) + half[None, :], mask=some[:, None], other=0).to(tl.int32)
    values = tl.join(tl.load(values_ptr + (pairs >> 4)), tl.load(values_ptr + (pairs & 15)))
    level = tl.load(scales_ptr + at, mask=some, other=0).to(tl.int32)
    scale = tl.load(scale_values_ptr + level) * tl.load(scale_scales_ptr + at // 256, mask=some, other=0.0) + offset
    return tl.reshape(values, (row.shape[0], COLUMNS)) * scale[:, None]


@triton.jit
def product_kernel(
    x_ptr,
    w_ptr,
    scales_ptr,
    values_ptr,
    scale_values_ptr,
    scale_scales_ptr,
    offset_ptr,
    low_ptr,
    high_ptr,
    bias_ptr,
    mask_ptr,
    y_ptr,
    T,
    OUT,
    IN,
    rank,
    high_rank_stride,
    high_stride,
    alpha,
    BACK: tl.constexpr,
    LORA: tl.constexpr,
    BIAS: tl.constexpr,
    MASK: tl.constexpr,
    TOKENS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    RANK: tl.constexpr,
    EXACT: tl.constexpr,
):
    """Y = x W' + bias + alpha (low high) x mask, and for BACK x W + ...: a tile of y for each program."""
    # x: [T, IN], y: [T, OUT]; BACK: x: [T, OUT], y: [T, IN]; low: [T, rank]; high: [rank, columns of y]; mask: as y
    token = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    real = token[:, None] < T
    offset = tl.load(offset_ptr)
    WIDTH: tl.constexpr = COLUMNS if BACK else ROWS  # of a tile of y
    if BACK:
        width = IN
        block = tl.program_id(1)
        sums = tl.zeros((TOKENS, COLUMNS), tl.float32)
        for row0 in range(0, OUT, ROWS):
            row = row0 + tl.arange(0, ROWS).to(tl.int64)
            some = row < OUT
            x = tl.load(x_ptr + token[:, None] * OUT + row[None, :], mask=real & some[None, :], other=0.0)
            w = _tile(
                w_ptr, scales_ptr, values_ptr, scale_values_ptr, scale_scales_ptr, offset, row, some, block, IN, COLUMNS
            )
            sums = tl.dot(x, w.to(x.dtype), sums, input_precision=EXACT)
    else:
        width = OUT
        row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
        some = row < OUT
        sums = tl.zeros((TOKENS, ROWS), tl.float32)
        for block in range(0, IN // COLUMNS):
            column = block * COLUMNS + tl.arange(0, COLUMNS)
            x = tl.load(x_ptr + token[:, None] * IN + column[None, :], mask=real, other=0.0)
            w = _tile(
                w_ptr, scales_ptr, values_ptr, scale_values_ptr, scale_scales_ptr, offset, row, some, block, IN, COLUMNS
            )
            sums = tl.dot(x, tl.trans(w.to(x.dtype)), sums, input_precision=EXACT)
    out = tl.program_id(1).to(tl.int64) * WIDTH + tl.arange(0, WIDTH)
    inside = real & (out[None, :] < width)
    if LORA:
        number = tl.arange(0, RANK)
        low = tl.load(
            low_ptr + token[:, None] * rank + number[None, :], mask=real & (number[None, :] < rank), other=0.0
        )
        high = tl.load(
            high_ptr + number[:, None] * high_rank_stride + out[None, :] * high_stride,
            mask=(number[:, None] < rank) & (out[None, :] < width),
            other=0.0,
        )
        added = tl.dot(low, high.to(low.dtype), input_precision=EXACT) * alpha
        if MASK:
            added *= tl.load(mask_ptr + token[:, None] * width + out[None, :], mask=inside, other=0.0).to(tl.float32)
        sums += added
    if BIAS:
        sums += tl.load(bias_ptr + out, mask=out < width, other=0.0).to(tl.float32)[None, :]
    tl.store(y_ptr + token[:, None] * width + out[None, :], sums.to(y_ptr.dtype.element_ty), mask=inside)


def constants(tile: Tile, *, back: bool, added: bool, bias: bool, mask: bool, rank: int) -> dict[str, Any]:
    """What the kernel is compiled for."""
    padded = max(triton.next_power_of_2(rank), LEAST_RANK)
    return {
        "BACK": back,
        "LORA": added,
        "BIAS": bias,
        "MASK": mask,
        "TOKENS": tile.tokens,
        "ROWS": ROWS,
        "COLUMNS": COLUMNS,
        "RANK": padded,
        "EXACT": "ieee",
    }


def nf4_product(
    x: Tensor, weight: NF4Weight, added: LowRank | None = None, *, bias: Tensor | None = None, back: bool = False
) -> Tensor:
    """Return X W' + bias + LoRA's part, or X W + LoRA's part for `back`.

    Sums are float32; W is rounded to x's type, as bitsandbytes does.

    Args:
        x: [T, in], for `back` [T, out]; float32, float16 or bfloat16.
        weight: W [out, in].
        added: LoRA's part.
        bias: [out].
        back: multiply by W, as the gradient of x asks, instead of by its transpose.

    Returns:
        [T, out], for `back` [T, in], in x's type.
    """
    x = x.contiguous()
    width = weight.inputs if back else weight.outputs
    y = torch.empty(len(x), width, dtype=x.dtype, device=x.device)
    if not len(x):
        return y
    # what is not there is given as x and never read
    low, high, alpha, mask = (
        (x, x, 1.0, None) if added is None else (added.low.contiguous(), added.high, added.scale, added.mask)
    )
    tile = next(tile for tile in TILES if len(x) <= tile.most)
    rank = 1 if added is None else low.shape[1]
    form = constants(tile, back=back, added=added is not None, bias=bias is not None, mask=mask is not None, rank=rank)
    product_kernel[(triton.cdiv(len(x), tile.tokens), triton.cdiv(width, COLUMNS if back else ROWS))](
        x,
        weight.packed,
        weight.scales,
        weight.values,
        weight.scale_values,
        weight.scale_scales,
        weight.offset,
        low,
        high,
        x if bias is None else bias,
        x if mask is None else mask,
        y,
        len(x),
        weight.outputs,
        weight.inputs,
        rank,
        high.stride(0),
        high.stride(1),
        alpha,
        **form,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return y
