"""Distance to the nearest center by the compiled kernels."""

import torch
from torch import Tensor

from edgepers.ops import native


def nearest_cpp(embeddings: Tensor, centers: Tensor) -> Tensor:
    """[B] float32 from dense embeddings [B, d] and centers [N, d] of one dtype on the CPU; N > 0."""
    distances = torch.empty(len(embeddings), dtype=torch.float32)
    sizes = (len(embeddings), len(centers), embeddings.shape[1])
    dtype = native.DTYPES[embeddings.dtype]
    code = native.call(
        "edgepers_nearest_distance", embeddings, centers, dtype, *sizes, distances, torch.get_num_threads()
    )
    assert code == native.OK, f"edgepers_nearest_distance returned {code}"
    return distances


CENTERS = 1024  # centers that one thread block of csrc/nearest_distance.cu meets


def nearest_cuda(embeddings: Tensor, centers: Tensor) -> Tensor:
    """As `nearest_cpp` on a GPU; B and N above 0."""
    rows, count, width = len(embeddings), len(centers), embeddings.shape[1]
    distances = torch.empty(((count + CENTERS - 1) // CENTERS, rows), device=embeddings.device, dtype=torch.float32)
    dtype = native.DTYPES[embeddings.dtype]
    native.launch("edgepers_nearest_distance_cuda", embeddings, centers, dtype, rows, count, width, distances)
    return distances.amin(0)  # NaN stays
