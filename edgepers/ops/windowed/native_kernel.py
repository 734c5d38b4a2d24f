"""Windowed entropy and mean unit embedding by the compiled kernels."""

from functools import partial

import torch
from torch import Tensor

from edgepers.ops import native
from edgepers.ops.checks import check_offsets


def score_cpp(
    op: str, hidden: Tensor, offsets: Tensor, center: Tensor | None, *, entropy: bool = True, embedding: bool = True
) -> tuple[Tensor, Tensor]:
    """Entropies [B] and embeddings [B, d] float32 of a dense batch on the CPU; what is not asked for comes empty.

    Args:
        op: name for messages.
        hidden: [N, d] float32, float16 or bfloat16, dense.
        offsets: [B + 1] int64 on the CPU.
        center: [d] of a float dtype, or None.
        entropy: whether to make entropies.
        embedding: whether to make embeddings.

    Raises:
        ShapeError: offsets that do not cut `hidden` into non-empty sets.
    """
    offsets = offsets.contiguous()
    sets, (rows, width) = len(offsets) - 1, hidden.shape
    entropies = torch.empty(sets if entropy else 0, dtype=torch.float32)
    embeddings = torch.empty((sets if embedding else 0, width), dtype=torch.float32)
    code = native.call(
        "edgepers_score_tokens",
        hidden,
        native.dtype_code(hidden),
        None if center is None else (center := center.float().contiguous()),
        offsets,
        sets,
        rows,
        width,
        entropies if entropy else None,
        embeddings if embedding else None,
        torch.get_num_threads(),
    )
    if code == native.BAD_OFFSETS:
        check_offsets(op, hidden, offsets)  # the same rule, with the message
    assert code == native.OK, f"edgepers_score_tokens returned {code}"
    return entropies, embeddings


def score_cuda(
    op: str, hidden: Tensor, offsets: Tensor, center: Tensor | None, *, entropy: bool = True, embedding: bool = True
) -> tuple[Tensor, Tensor]:
    """Score a dense batch on a GPU, as `score_cpp` does; offsets are on the CPU, and nothing waits for the GPU.

    Raises:
        ShapeError: offsets that do not cut `hidden` into non-empty sets.
        RuntimeError: the launch failed.
    """
    check_offsets(op, hidden, offsets)
    sets, width = len(offsets) - 1, hidden.shape[1]
    rows = native.call("edgepers_cuda_task_rows")
    tasks = torch.cat([offsets.new_zeros(1), (offsets.diff() + rows - 1).div(rows, rounding_mode="floor").cumsum(0)])
    plan = torch.stack([offsets, tasks]).to(hidden.device, non_blocking=True)
    count = int(tasks[-1])
    new = partial(torch.empty, device=hidden.device)
    entropies = new(sets if entropy else 0, dtype=torch.float32)
    embeddings = new((sets if embedding else 0, width), dtype=torch.float32)
    live, counts = new(len(hidden), dtype=torch.int64), new(sets, dtype=torch.int64)
    sums = new((count if embedding else 0, width), dtype=torch.float32)
    tallies = new((count, 2), dtype=torch.float32)
    if sets:
        native.launch(
            "edgepers_score_tokens_cuda",
            hidden,
            native.dtype_code(hidden),
            None if center is None else center.float().contiguous(),
            plan[0],
            plan[1],
            sets,
            count,
            width,
            live,
            counts,
            sums,
            tallies,
            entropies if entropy else None,
            embeddings if embedding else None,
        )
    return entropies, embeddings
