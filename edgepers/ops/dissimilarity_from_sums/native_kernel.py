"""In-domain dissimilarity from sums by the compiled kernels."""

import torch
from torch import Tensor

from edgepers.ops import native
from edgepers.ops.dissimilarity_from_sums.torch_kernel import check_domains

SUMS = (torch.float32, torch.float64, torch.int32, torch.int64)  # read as they are; others are widened to float64 first


def dissimilarity_cpp(embeddings: Tensor, domains: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
    """[B] float32 from dense arguments on the CPU.

    Raises:
        ShapeError: a domain that is no row of `sums`, or a negative count.
    """
    sums = sums if sums.dtype in SUMS else sums.double()
    stored = counts.double()
    distances = torch.empty(len(embeddings), dtype=torch.float32)
    code = native.call(
        "edgepers_dissimilarity_from_sums",
        embeddings,
        native.DTYPES[embeddings.dtype],
        domains,
        sums,
        native.DTYPES[sums.dtype],
        stored,
        len(embeddings),
        len(sums),
        embeddings.shape[1],
        distances,
        torch.get_num_threads(),
    )
    if code in {native.BAD_DOMAIN, native.BAD_COUNT}:
        check_domains(domains, sums, counts)  # the same rule, with the message
    assert code == native.OK, f"edgepers_dissimilarity_from_sums returned {code}"
    return distances


def dissimilarity_cuda(embeddings: Tensor, domains: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
    """As `dissimilarity_cpp` on a GPU; the check waits for it."""
    check_domains(domains, sums, counts)
    sums = sums if sums.dtype in SUMS else sums.double()
    stored = counts.double()
    distances = torch.empty(len(embeddings), device=embeddings.device, dtype=torch.float32)
    if len(embeddings):
        native.launch(
            "edgepers_dissimilarity_from_sums_cuda",
            embeddings,
            native.DTYPES[embeddings.dtype],
            domains,
            sums,
            native.DTYPES[sums.dtype],
            stored,
            len(embeddings),
            embeddings.shape[1],
            distances,
        )
    return distances
