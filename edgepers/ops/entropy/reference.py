"""The meaning of `embedding_entropy`: slow and obvious."""

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

WINDOW = 16
BINS = 100


def embedding_entropy_reference(
    hidden: Tensor,
    offsets: Tensor,
    kind: str = "windowed",
    center: Tensor | None = None,
    *,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """[B] `dtype`: float64 is the truth, float32 what plain torch makes of the same formula."""
    ends = offsets.tolist()
    of_kind = {
        "windowed": _windowed,
        "collision": _collision,
        "spectral": _spectral,
        "token": _token,
        "histogram": _histogram,
    }[kind]
    values = []
    for start, end in pairwise(ends):
        rows = hidden[start:end].to(dtype)
        if kind != "histogram":
            keep = (rows != 0).any(1)
            if center is not None:
                rows = rows - center.to(dtype)
                keep = keep & (rows != 0).any(1)
            rows = rows[keep]
        values.append(of_kind(rows) if len(rows) > 1 or kind == "histogram" else 0.0)
    return torch.tensor(values, dtype=dtype)


def _unit(rows: Tensor) -> Tensor:
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return unit


def _collision(rows: Tensor) -> float:
    n = len(rows)
    gram = _unit(rows) @ _unit(rows).T / n
    return min(max(-math.log(gram.square().sum()) / math.log(n), 0.0), 1.0)


def _windowed(rows: Tensor) -> float:
    parts = [part for part in rows.split(WINDOW) if len(part) > 1]
    return sum(len(part) * _collision(part) for part in parts) / sum(len(part) for part in parts)


def _shannon(shares: Tensor) -> float:
    shares = shares[shares > 0]
    return float(-(shares * shares.log()).sum())


def _spectral(rows: Tensor) -> float:
    shares = torch.linalg.eigvalsh(_unit(rows) @ _unit(rows).T / len(rows))
    return min(max(_shannon(shares) / math.log(len(rows)), 0.0), 1.0)


def _token(rows: Tensor) -> float:
    squares = rows.square().sum(1)
    return min(max(_shannon(squares / squares.sum()) / math.log(len(rows)), 0.0), 1.0)


def _histogram(rows: Tensor) -> float:
    row = rows[-1].tolist()
    low, high = (min(row), max(row)) if min(row) < max(row) else (row[0] - 0.5, row[0] + 0.5)
    edges = np.linspace(low, high, BINS + 1)
    counts = torch.zeros(BINS, dtype=torch.float64)
    for value in row:  # the last bin holds its upper edge
        counts[min(int((value >= edges).sum()) - 1, BINS - 1)] += 1
    return _shannon(counts / len(row)) / math.log(len(rows) + 1)
