"""The buffer's scores in memory, as arrays, with integer sums of embeddings per domain so that IDD costs O(d)."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from edgepers.select.embedding import Int8, dissimilarity
from edgepers.select.policy import GRID, Kept
from edgepers.select.records import KeptSet

__all__ = ["Index"]


class Index:
    """Grows by doubling; rows stay in order of arrival."""

    def __init__(self, width: int, kept: Iterable[KeptSet]) -> None:
        self._width = width
        self._domains: dict[str, int] = {}
        self._sums = np.zeros((0, width), np.int64)
        self._counts = np.zeros(0, np.int64)
        self._count = 0
        self._columns: dict[str, npt.NDArray[np.int64]] = {
            name: np.zeros(16, np.int64) for name in ("position", "entropy", "domain_score", "domain", "annotated")
        }
        self._embedding = np.zeros((16, width), np.int8)
        self._cached: npt.NDArray[np.int64] | None = None
        for record in kept:
            self.add(record)

    def __len__(self) -> int:
        return self._count

    def _domain(self, name: str) -> int:
        if name not in self._domains:
            self._domains[name] = len(self._domains)
            self._sums = np.vstack([self._sums, np.zeros((1, self._width), np.int64)])
            self._counts = np.append(self._counts, 0)
        return self._domains[name]

    def add(self, kept: KeptSet) -> None:
        """Take up a set that has just been kept."""
        if self._count == len(self._embedding):
            self._embedding = np.concatenate([self._embedding, np.zeros_like(self._embedding)])
            self._columns = {name: np.concatenate([column, np.zeros_like(column)]) for name, column in self._columns.items()}
        domain = self._domain(kept.domain)
        values: tuple[int, ...] = (
            kept.position,
            int(on_grid(kept.entropy)),
            int(on_grid(kept.domain_score)),
            domain,
            int(kept.annotated),
        )
        for column, value in zip(self._columns.values(), values, strict=True):
            column[self._count] = value
        self._embedding[self._count] = kept.embedding
        self._sums[domain] += kept.embedding
        self._counts[domain] += 1
        self._count += 1
        self._cached = None

    def remove(self, positions: Iterable[int]) -> None:
        """Let sets go; sums of integers make it exactly undo `add`."""
        gone = np.isin(self._columns["position"][: self._count], list(positions))
        for row in np.flatnonzero(gone):
            self._sums[self._columns["domain"][row]] -= self._embedding[row]
            self._counts[self._columns["domain"][row]] -= 1
        stays = np.flatnonzero(~gone)
        for column in self._columns.values():
            column[: len(stays)] = column[stays]
        self._embedding[: len(stays)] = self._embedding[stays]
        self._count = len(stays)
        self._cached = None

    def dissimilarity_of(self, embedding: Int8, domain: str) -> float:
        """IDD of a newcomer against the kept sets of its domain."""
        row = self._domain(domain)
        dot = np.array([int(self._sums[row] @ embedding.astype(np.int64))])
        return float(dissimilarity(dot, self._counts[row : row + 1], self._width)[0])

    def _dissimilarities(self) -> npt.NDArray[np.int64]:
        """IDD of every kept set against the others of its domain, on the grid; computed again only after a change."""
        if self._cached is None:
            embedding = self._embedding[: self._count].astype(np.int64)
            domain = self._columns["domain"][: self._count]
            dots = np.einsum("nd,nd->n", embedding, self._sums[domain] - embedding) if self._count else np.zeros(0, np.int64)
            self._cached = on_grid(dissimilarity(dots, self._counts[domain] - 1, self._width))
        return self._cached

    def kept(self) -> Kept:
        """Views for a policy; valid until the next change."""
        n = self._count
        return Kept(
            position=self._columns["position"][:n],
            entropy=self._columns["entropy"][:n],
            domain_score=self._columns["domain_score"][:n],
            dissimilarity=self._dissimilarities(),
            annotated=self._columns["annotated"][:n].astype(bool),
            embedding=self._embedding[:n],
        )


def on_grid(score: float | npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Scores in steps of 1/GRID, rounded to the nearest."""
    return np.rint(np.asarray(score, np.float64) * GRID).astype(np.int64)
