"""The buffer's scores in memory, as arrays, with integer sums of embeddings per domain so that IDD costs O(d).

A set that comes or goes changes the IDD of its own domain alone, by its product with each embedding there.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from edgepers.ops.dissimilarity.formula import distance, distance_to_sum
from edgepers.ops.similarity.op import int8_similarity
from edgepers.select.closest_pairs import Pairs
from edgepers.select.likeness import Likeness
from edgepers.select.policy import GRID, UNKNOWN, Kept, Newcomer, Rows
from edgepers.select.repeats import Wordings
from edgepers.state.embedding import Int8, scale
from edgepers.state.records import MOST_REPEATS, KeptSet

__all__ = ["Index", "loss_on_grid", "newcomer_of", "on_grid"]

_COLUMNS = (
    "position", "entropy", "domain_score", "domain", "characters", "stored_bytes", "loss", "repeats",
    "product",  # of the embedding with the sum of the others of its domain
    "dissimilarity",
)  # fmt: skip


class _Domain:
    """How many embeddings a domain has, and their integer sum [width]."""

    def __init__(self, width: int) -> None:
        self.sum = np.zeros(width, np.int64)
        self.count = 0

    def take(self, embedding: Int8, count: int = 1) -> None:
        """One more, or with -1 one less."""
        self.sum += count * embedding.astype(np.int64)
        self.count += count


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
        self._pairs, self._likeness, self._wordings = Pairs(), Likeness(), Wordings()
        self._formed: tuple[bytes, npt.NDArray[np.int32]] | None = None  # a vector and its products
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
            "repeats": kept.repeats,
        }
        for name, value in values.items():
            self._columns[name][row] = value
        self._annotated[row] = kept.annotated
        self._embedding[row] = kept.embedding
        self._domains[number].take(kept.embedding)
        self._wordings.add(kept.position, kept.question)
        self._count += 1
        return row

    def products(self, vector: Int8) -> npt.NDArray[np.int32]:
        """Products int32 [N] of int8 [width] with all embeddings, formed once for one vector after the other."""
        name = vector.tobytes()
        if self._formed is None or self._formed[0] != name:
            self._formed = name, int8_similarity(vector[None], self._embedding[: self._count])[0]
        return self._formed[1]

    def add(self, kept: KeptSet) -> None:
        """Take up a set that has just been kept."""
        products = self.products(kept.embedding)
        number = self._number(kept.domain)
        others = self._rows_of(number)
        row = self._append(kept)
        product = self._columns["product"]
        product[others] += products[others]
        product[row] = products[others].sum(dtype=np.int64)
        self._changed.add(number)
        own = int8_similarity(kept.embedding[None], kept.embedding[None])[0]
        self._likeness.come(np.concatenate([products, own]), self._width)
        self._formed = None

    def asked_the_same(self, words: str) -> Iterator[int]:
        """Positions of sets whose question's `wording` has the hash of this one's, the newest first."""
        return self._wordings.like(words)

    def count_repeat(self, position: int, repeats: int) -> None:
        """Count that a set was asked once more, after so many times."""
        (row,) = np.flatnonzero(self._columns["position"][: self._count] == position)
        self._columns["repeats"][row] = min(repeats + 1, MOST_REPEATS)

    def judged(self, kept: KeptSet) -> None:
        """Note that a set which is here was judged: its scores stay, its row in the buffer has another size."""
        (row,) = np.flatnonzero(self._columns["position"][: self._count] == kept.position)
        self._annotated[row] = kept.annotated
        self._columns["stored_bytes"][row] = kept.stored_bytes

    def remove(self, positions: Iterable[int]) -> None:
        """Let sets go; sums of integers make it exactly undo `add`."""
        position = self._columns["position"][: self._count]
        gone = sorted(int(row) for wanted in set(positions) for row in np.flatnonzero(position == wanted))
        if not gone:
            return
        embedding = self._embedding[: self._count]
        products = int8_similarity(embedding[gone], embedding)
        self._pairs.drop(gone)
        self._likeness.drop(gone, products, self._width)
        self._wordings.remove(int(position[row]) for row in gone)
        for row, of_row in zip(gone, products, strict=True):
            number = int(self._columns["domain"][row])
            others = self._rows_of(number)
            self._columns["product"][others] -= of_row[others]
            self._domains[number].take(embedding[row], -1)
            self._changed.add(number)
        if self._formed is not None:
            self._formed = self._formed[0], np.delete(self._formed[1], gone)
        for row in reversed(gone):
            self._close_gap(row)

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
            repeats=self._columns["repeats"][:n],
            pairs=self._pairs,
            likeness=self._likeness,
            known_products=self.products,
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
