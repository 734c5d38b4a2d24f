"""In-domain dissimilarity from sums in Triton: one program an embedding, in float64 as everywhere."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from edgepers.ops.dissimilarity_from_sums.torch_kernel import check_domains

_BLOCK = 256


@triton.jit
def _dissimilarity_kernel(x_ptr, domain_ptr, sums_ptr, counts_ptr, out_ptr, D, BLOCK: tl.constexpr):
    # x: [B, D], domain: [B] int64, sums: [m, D], counts: [m] float64, out: [B] float32
    row = tl.program_id(0).to(tl.int64)
    domain = tl.load(domain_ptr + row)
    dots = tl.zeros((BLOCK,), tl.float64)
    for d0 in range(0, D, BLOCK):
        d = d0 + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * D + d, mask=d < D, other=0.0).to(tl.float64)
        dots += x * tl.load(sums_ptr + domain * D + d, mask=d < D, other=0).to(tl.float64)
    count = tl.load(counts_ptr + domain)
    tl.store(out_ptr + row, tl.where(count > 0, 1 - tl.sum(dots) / tl.where(count > 0, count, 1), 1).to(tl.float32))


def dissimilarity_triton(embeddings: Tensor, domains: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
    """[B] float32 from dense arguments.

    Raises:
        ShapeError: a domain that is no row of `sums`, or a negative count.
    """
    check_domains(domains, sums, counts)
    rows, width = embeddings.shape
    distances = torch.empty(rows, device=embeddings.device, dtype=torch.float32)
    if rows:
        _dissimilarity_kernel[(rows,)](embeddings, domains, sums, counts.double(), distances, width, BLOCK=_BLOCK)
    return distances
