"""The buffer's scores in memory, as arrays, with integer sums of embeddings per domain so that IDD costs O(d).

A set that comes or goes changes the IDD of its own domain alone, by its product with each embedding there.
"""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from edgepers.ops.dissimilarity.formula import distance, distance_to_sum
from edgepers.ops.similarity.op import int8_similarity
from edgepers.select.closest_pairs import Pairs
from edgepers.select.likeness import Likeness
from edgepers.select.policy import GRID, UNKNOWN, Kept, Newcomer, Rows
from edgepers.state.embedding import Int8, scale
from edgepers.state.records import KeptSet

__all__ = ["Index", "loss_on_grid", "newcomer_of", "on_grid"]

_COLUMNS = (
    "position", "entropy", "domain_score", "domain", "characters", "stored_bytes", "loss",
    "product",  # of the embedding with the sum of the others of its domain
    "dissimilarity",
)  # fmt: skip


class _Domain:
    """The embeddings of one domain in order of arrival, side by side for the products, and their integer sum.

    Who leaves is struck out, and cleared away when half are: nothing moves at most changes.
    """

    def __init__(self, width: int) -> None:
        self.sum = np.zeros(width, np.int64)
        self.count = 0
        self._rows = np.zeros((4, width), np.int8)
        self._here = np.zeros(4, np.bool_)
        self._end = 0

    def add(self, embedding: Int8) -> None:
        if self._end == len(self._here):
            self._here = np.concatenate([self._here, np.zeros_like(self._here)])
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self._end], self._here[self._end] = embedding, True
        self._end += 1
        self.count += 1
        self.sum += embedding

    def remove(self, which: int) -> None:
        """Let the set go that came as `which`th of those that are here."""
        place = int(np.flatnonzero(self._here)[which])
        self.sum -= self._rows[place]
        self._here[place] = False
        self.count -= 1
        if 2 * self.count < self._end:
            self._rows[: self.count] = self._rows[self._here.nonzero()]
            self._end = self.count
            self._here[:] = np.arange(len(self._here)) < self._end

    def products(self, embedding: Int8) -> Rows:
        """With each that is here, in order of arrival."""
        products: Rows = int8_similarity(embedding[None], self._rows[: self._end])[0].astype(np.int64)
        return products[self._here[: self._end]]


class Index:
    """Grows by doubling; rows stay in order of arrival."""

    def __init__(self, width: int, kept: Iterable[KeptSet]) -> None:
        self._width = width
        self._square = scale(width) ** 2  # what the product of a stored embedding with itself comes to
        self._numbers: dict[str, int] = {}
        self._domains: list[_Domain] = []
        self._count = 0
        self._columns: dict[str, Rows] = {name: np.zeros(16, np.int64) for name in _COLUMNS}
        self._annotated = np.zeros(16, np.bool_)
        self._embedding = np.zeros((16, width), np.int8)
        self._pairs, self._likeness = Pairs(), Likeness()
        for record in kept:
            self._append(record)
        for number, domain in enumerate(self._domains):
            rows = self._rows_of(number)
            embedding = self._embedding[rows].astype(np.int64)
            self._columns["product"][rows] = np.einsum("nd,nd->n", embedding, domain.sum - embedding)
        self._changed = set(range(len(self._domains)))  # whose IDD is to be computed again

    def __len__(self) -> int:
        return self._count

    def _number(self, domain: str) -> int:
        if domain not in self._numbers:
            self._numbers[domain] = len(self._domains)
            self._domains.append(_Domain(self._width))
        return self._numbers[domain]

    def _rows_of(self, domain: int) -> Rows:
        return np.flatnonzero(self._columns["domain"][: self._count] == domain)

    def _append(self, kept: KeptSet) -> int:
        row, number = self._count, self._number(kept.domain)
        if row == len(self._embedding):
            self._embedding = np.concatenate([self._embedding, np.zeros_like(self._embedding)])
            self._annotated = np.concatenate([self._annotated, np.zeros_like(self._annotated)])
            self._columns = {
                name: np.concatenate([column, np.zeros_like(column)]) for name, column in self._columns.items()
            }
        values = {
            "position": kept.position,
            "entropy": int(on_grid(kept.entropy)),
            "domain_score": int(on_grid(kept.domain_score)),
            "domain": number,
            "characters": len(kept.question) + len(kept.response),
            "stored_bytes": kept.stored_bytes,
            "loss": loss_on_grid(kept.loss),
        }
        for name, value in values.items():
            self._columns[name][row] = value
        self._annotated[row] = kept.annotated
        self._embedding[row] = kept.embedding
        self._domains[number].add(kept.embedding)
        self._count += 1
        return row

    def add(self, kept: KeptSet) -> None:
        """Take up a set that has just been kept."""
        row = self._append(kept)
        number = self._numbers[kept.domain]
        products = self._domains[number].products(kept.embedding)
        self._columns["product"][self._rows_of(number)] += products
        self._columns["product"][row] = products[:-1].sum()  # the others; itself is the last
        self._changed.add(number)

    def judged(self, kept: KeptSet) -> None:
        """Note that a set which is here was judged: its scores stay, its row in the buffer has another size."""
        (row,) = np.flatnonzero(self._columns["position"][: self._count] == kept.position)
        self._annotated[row] = kept.annotated
        self._columns["stored_bytes"][row] = kept.stored_bytes

    def remove(self, positions: Iterable[int]) -> None:
        """Let sets go; sums of integers make it exactly undo `add`."""
        position = self._columns["position"][: self._count]
        gone = sorted(int(row) for wanted in set(positions) for row in np.flatnonzero(position == wanted))
        self._pairs.drop(gone)
        self._likeness.drop(gone, self._embedding[: self._count])
        for row in reversed(gone):
            number = int(self._columns["domain"][row])
            rows = self._rows_of(number)
            domain = self._domains[number]
            self._columns["product"][rows] -= domain.products(self._embedding[row])
            domain.remove(int(np.searchsorted(rows, row)))
            self._close_gap(row)
            self._changed.add(number)

    def _close_gap(self, row: int) -> None:
        """Move up what lies after a row; as flat arrays, which numpy moves in place."""
        self._count -= 1
        for column in (*self._columns.values(), self._annotated):
            column[row : self._count] = column[row + 1 : self._count + 1]
        embedding, width = self._embedding.reshape(-1), self._width
        embedding[row * width : self._count * width] = embedding[(row + 1) * width : (self._count + 1) * width]

    def _refresh(self) -> None:
        for number in self._changed:
            rows = self._rows_of(number)
            products = self._columns["product"][rows]
            self._columns["dissimilarity"][rows] = on_grid(distance(products, (len(rows) - 1) * self._square))
        self._changed.clear()

    def dissimilarity_of(self, embedding: Int8, domain: str) -> float:
        """IDD of a newcomer against the kept sets of its domain."""
        others = self._domains[self._number(domain)]
        return float(distance_to_sum(embedding.astype(np.int64), others.sum, others.count * self._square))

    def kept(self) -> Kept:
        """Views for a policy; valid until the next change."""
        self._refresh()
        n = self._count
        return Kept(
            position=self._columns["position"][:n],
            entropy=self._columns["entropy"][:n],
            domain_score=self._columns["domain_score"][:n],
            dissimilarity=self._columns["dissimilarity"][:n],
            annotated=self._annotated[:n],
            embedding=self._embedding[:n],
            characters=self._columns["characters"][:n],
            stored_bytes=self._columns["stored_bytes"][:n],
            loss=self._columns["loss"][:n],
            pairs=self._pairs,
            likeness=self._likeness,
        )


def newcomer_of(kept: KeptSet, dissimilarity: float) -> Newcomer:
    """What a policy is told of a set that is not kept yet, and of its IDD."""
    return Newcomer(
        position=kept.position,
        entropy=int(on_grid(kept.entropy)),
        domain_score=int(on_grid(kept.domain_score)),
        dissimilarity=int(on_grid(dissimilarity)),
        domain=kept.domain,
        embedding=kept.embedding,
        characters=len(kept.question) + len(kept.response),
        stored_bytes=kept.stored_bytes,
        loss=loss_on_grid(kept.loss),
    )


def on_grid(score: float | npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Scores in steps of 1/GRID, rounded to the nearest."""
    return np.rint(np.asarray(score, np.float64) * GRID).astype(np.int64)


def loss_on_grid(loss: float) -> int:
    """A loss in steps of 1/GRID; UNKNOWN where it is nan."""
    return UNKNOWN if math.isnan(loss) else int(on_grid(loss))
