"""Distance to the nearest center in Triton: a running maximum over tiles of cosines, none of them stored."""

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS, _CENTERS, _BLOCK = 16, 64, 64
_PER_PROGRAM = (
    1024  # centers of one program: a single embedding still fills the chip, a maximum does not mind the split
)


@triton.jit
def _nearest_kernel(
    x_ptr,
    c_ptr,
    out_ptr,
    B,
    N,
    D,
    PER: tl.constexpr,
    ROWS: tl.constexpr,
    CENTERS: tl.constexpr,
    BLOCK: tl.constexpr,
    EXACT: tl.constexpr,
):
    # x: [B, D], c: [N, D], out: [programs over centers, B] float32
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    start = tl.program_id(1).to(tl.int64) * PER
    most = tl.full((ROWS,), float("-inf"), tl.float32)
    broken = tl.zeros((ROWS,), tl.int32)  # a maximum would lose NaN
    for offset in range(0, PER, CENTERS):
        center = start + offset + tl.arange(0, CENTERS)
        dots = tl.zeros((ROWS, CENTERS), tl.float32)
        for d0 in range(0, D, BLOCK):
            d = d0 + tl.arange(0, BLOCK)
            x = tl.load(x_ptr + row[:, None] * D + d[None, :], mask=(row[:, None] < B) & (d[None, :] < D), other=0.0)
            c = tl.load(
                c_ptr + center[:, None] * D + d[None, :], mask=(center[:, None] < N) & (d[None, :] < D), other=0.0
            )
            dots = tl.dot(x, tl.trans(c), dots, input_precision=EXACT)
        inside = center[None, :] < N
        most = tl.maximum(most, tl.max(tl.where(inside, dots, float("-inf")), 1))
        broken = tl.maximum(broken, tl.max(tl.where(inside & (dots != dots), 1, 0), 1))
    tl.store(
        out_ptr + tl.program_id(1).to(tl.int64) * B + row, tl.where(broken > 0, float("nan"), 1 - most), mask=row < B
    )


def nearest_triton(embeddings: Tensor, centers: Tensor) -> Tensor:
    """[B] float32 from dense embeddings [B, d] and centers [N, d] of one dtype; both sizes above 0."""
    rows, count, width = len(embeddings), len(centers), embeddings.shape[1]
    grid = (triton.cdiv(rows, _ROWS), triton.cdiv(count, _PER_PROGRAM))
    distances = torch.empty((grid[1], rows), device=embeddings.device, dtype=torch.float32)
    _nearest_kernel[grid](
        embeddings,
        centers,
        distances,
        rows,
        count,
        width,
        PER=_PER_PROGRAM,
        ROWS=_ROWS,
        CENTERS=_CENTERS,
        BLOCK=_BLOCK,
        EXACT="ieee",
    )
    return distances.amin(0)
