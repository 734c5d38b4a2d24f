"""The buffer's scores in memory, as arrays, with integer sums of embeddings per domain so that IDD costs O(d).

A set that comes or goes changes the IDD of its own domain alone, by its product with each embedding there.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from edgepers.select.embedding import Int8, dissimilarity
from edgepers.select.pairs import Pairs
from edgepers.select.policy import GRID, UNKNOWN, Kept, Rows
from edgepers.select.records import KeptSet

__all__ = ["Index", "loss_on_grid", "on_grid"]

_COLUMNS = (
    "position", "entropy", "domain_score", "domain", "annotated", "characters", "stored_bytes", "loss",
    "product",  # of the embedding with the sum of the others of its domain
    "dissimilarity",
)  # fmt: skip
_BLOCK = 1024  # embeddings turned into float32 at a time: they stay in the cache


class Index:
    """Grows by doubling; rows stay in order of arrival."""

    def __init__(self, width: int, kept: Iterable[KeptSet]) -> None:
        self._width = width
        self._domains: dict[str, int] = {}
        self._sums = np.zeros((0, width), np.int64)
        self._counts = np.zeros(0, np.int64)
        self._count = 0
        self._columns: dict[str, Rows] = {name: np.zeros(16, np.int64) for name in _COLUMNS}
        self._embedding = np.zeros((16, width), np.int8)
        self._pairs = Pairs()
        for record in kept:
            self._append(record)
        for domain in range(len(self._domains)):
            rows = self._rows_of(domain)
            of_domain = self._embedding[rows].astype(np.int64)
            self._columns["product"][rows] = np.einsum("nd,nd->n", of_domain, self._sums[domain] - of_domain)
            self._refresh(domain, rows)

    def __len__(self) -> int:
        return self._count

    def _domain(self, name: str) -> int:
        if name not in self._domains:
            self._domains[name] = len(self._domains)
            self._sums = np.vstack([self._sums, np.zeros((1, self._width), np.int64)])
            self._counts = np.append(self._counts, 0)
        return self._domains[name]

    def _rows_of(self, domain: int) -> Rows:
        return np.flatnonzero(self._columns["domain"][: self._count] == domain)

    def _append(self, kept: KeptSet) -> int:
        if self._count == len(self._embedding):
            self._embedding = np.concatenate([self._embedding, np.zeros_like(self._embedding)])
            self._columns = {name: np.concatenate([column, np.zeros_like(column)]) for name, column in self._columns.items()}
        row, domain = self._count, self._domain(kept.domain)
        values = {
            "position": kept.position,
            "entropy": int(on_grid(kept.entropy)),
            "domain_score": int(on_grid(kept.domain_score)),
            "domain": domain,
            "annotated": int(kept.annotated),
            "characters": len(kept.question) + len(kept.response),
            "stored_bytes": kept.stored_bytes,
            "loss": loss_on_grid(kept.loss),
        }
        for name, value in values.items():
            self._columns[name][row] = value
        self._embedding[row] = kept.embedding
        self._sums[domain] += kept.embedding
        self._counts[domain] += 1
        self._count += 1
        return row

    def add(self, kept: KeptSet) -> None:
        """Take up a set that has just been kept."""
        row = self._append(kept)
        domain = self._domains[kept.domain]
        rows = self._rows_of(domain)
        products = self._products(rows, kept.embedding)
        self._columns["product"][rows] += products
        self._columns["product"][row] = products[:-1].sum()  # the others; itself is the last
        self._refresh(domain, rows)

    def remove(self, positions: Iterable[int]) -> None:
        """Let sets go; sums of integers make it exactly undo `add`."""
        position = self._columns["position"][: self._count]
        gone = sorted(int(row) for wanted in set(positions) for row in np.flatnonzero(position == wanted))
        if not gone:
            return
        left = {row: (int(self._columns["domain"][row]), self._embedding[row].copy()) for row in gone}
        for domain, embedding in left.values():
            self._sums[domain] -= embedding
            self._counts[domain] -= 1
        self._pairs.keep(np.delete(np.arange(self._count), gone))
        self._close_gaps(gone)
        for domain in {domain for domain, _ in left.values()}:
            rows = self._rows_of(domain)
            for other, embedding in left.values():
                if other == domain:
                    self._columns["product"][rows] -= self._products(rows, embedding)
            self._refresh(domain, rows)

    def _close_gaps(self, gone: Sequence[int]) -> None:
        """Move up what lies after each of the rows; as flat arrays, which numpy moves in place."""
        embedding, width = self._embedding.reshape(-1), self._width
        for row in reversed(gone):
            self._count -= 1
            for column in self._columns.values():
                column[row : self._count] = column[row + 1 : self._count + 1]
            embedding[row * width : self._count * width] = embedding[(row + 1) * width : (self._count + 1) * width]

    def _products(self, rows: Rows, embedding: Int8) -> Rows:
        """Products of the rows' embeddings with one: below 2**24 at widths up to 1,024, so float32 holds them exactly."""
        vector = embedding.astype(np.float32)
        products = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _BLOCK):
            some = slice(start, start + _BLOCK)
            products[some] = self._embedding[rows[some]].astype(np.float32) @ vector
        return products.astype(np.int64)

    def _refresh(self, domain: int, rows: Rows) -> None:
        others = np.full(len(rows), self._counts[domain] - 1)
        self._columns["dissimilarity"][rows] = on_grid(dissimilarity(self._columns["product"][rows], others, self._width))

    def dissimilarity_of(self, embedding: Int8, domain: str) -> float:
        """IDD of a newcomer against the kept sets of its domain."""
        row = self._domain(domain)
        dot = np.array([int(self._sums[row] @ embedding.astype(np.int64))])
        return float(dissimilarity(dot, self._counts[row : row + 1], self._width)[0])

    def kept(self) -> Kept:
        """Views for a policy; valid until the next change."""
        n = self._count
        return Kept(
            position=self._columns["position"][:n],
            entropy=self._columns["entropy"][:n],
            domain_score=self._columns["domain_score"][:n],
            dissimilarity=self._columns["dissimilarity"][:n],
            annotated=self._columns["annotated"][:n].astype(bool),
            embedding=self._embedding[:n],
            characters=self._columns["characters"][:n],
            stored_bytes=self._columns["stored_bytes"][:n],
            loss=self._columns["loss"][:n],
            pairs=self._pairs,
        )


def on_grid(score: float | npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Scores in steps of 1/GRID, rounded to the nearest."""
    return np.rint(np.asarray(score, np.float64) * GRID).astype(np.int64)


def loss_on_grid(loss: float) -> int:
    """A loss in steps of 1/GRID; UNKNOWN where it is nan."""
    return UNKNOWN if math.isnan(loss) else int(on_grid(loss))
