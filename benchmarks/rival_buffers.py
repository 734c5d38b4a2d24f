"""What a user would keep dialogue sets with instead: reservoir sampling into JSONL, diskcache, SQLite.

And k-center from scikit-learn.
"""

import json
import os
import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from edgepers.select.policy import Kept, Newcomer, Room
from edgepers.state.compress import compress_text
from edgepers.state.database import PAGE_BYTES
from edgepers.streams import DialogueSet

__all__ = ["AppendingReservoir", "BareSqliteFifo", "DiskcacheFifo", "RewritingReservoir", "Rival", "sklearn_kcenter"]


class Rival(Protocol):
    """Something that decides on one set after another, durably."""

    def offer(self, dialogue: DialogueSet) -> bool:
        """Whether it was kept."""


class RewritingReservoir:
    """Algorithm R (Vitter 1985); the file holds exactly what is kept: written beside, fsync, renamed, folder fsync."""

    def __init__(self, folder: Path, count: int) -> None:
        self._file, self._count, self._seen = folder / "reservoir.jsonl", count, 0
        self._rng = random.Random(0)
        self._lines: list[str] = []

    def offer(self, dialogue: DialogueSet) -> bool:
        """See `Rival`."""
        self._seen += 1
        line = json.dumps({"id": dialogue.id, "question": dialogue.question, "response": dialogue.response})
        if len(self._lines) < self._count:
            self._lines.append(line)
        elif (place := self._rng.randrange(self._seen)) < self._count:
            self._lines[place] = line
        else:
            return False
        beside = self._file.with_suffix(".new")
        with beside.open("w", encoding="utf-8") as file:
            file.write("\n".join(self._lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.rename(self._file)
        folder = os.open(self._file.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        return True


class AppendingReservoir:
    """Algorithm R; every admission is one more line and one fsync.

    The file grows without bound: the least a durable admission can cost.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._file = (folder / "log.jsonl").open("a", encoding="utf-8")
        self._count, self._seen, self._rng = count, 0, random.Random(0)

    def offer(self, dialogue: DialogueSet) -> bool:
        """See `Rival`."""
        self._seen += 1
        place = self._seen - 1 if self._seen <= self._count else self._rng.randrange(self._seen)
        if place >= self._count:
            return False
        row = {"place": place, "id": dialogue.id, "question": dialogue.question, "response": dialogue.response}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        return True


class DiskcacheFifo:
    """diskcache: SQLite in a folder, a limit of bytes, the first stored leave first; synchronous as ours."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        from diskcache import Cache

        self._cache = Cache(
            str(folder / "diskcache"),
            size_limit=size_bytes,
            eviction_policy="least-recently-stored",
            sqlite_synchronous=2,
            sqlite_mmap_size=0,
        )

    def offer(self, dialogue: DialogueSet) -> bool:
        """See `Rival`."""
        return bool(self._cache.set(dialogue.id, (dialogue.question, dialogue.response)))


class BareSqliteFifo:
    """The least that SQLite takes for what a buffer's decision writes.

    One row leaves, one comes, a counter is replaced.

    Pages, journal, lock and durability are those of the buffer, and so is a row's size; nothing is scored, counted or
    encrypted, and nothing holds it in a budget.
    """

    _EMBEDDING, _PROGRESS = b"\x5a" * 140, b"\xa5" * 444  # bytes, about as the buffer's

    def __init__(self, folder: Path, count: int) -> None:
        self._count, self._seen = count, 0
        self._file = sqlite3.connect(folder / "bare.db", isolation_level=None)
        self._file.execute(f"PRAGMA page_size={PAGE_BYTES}")
        for pragma in (
            "auto_vacuum=INCREMENTAL",
            "journal_mode=TRUNCATE",
            "synchronous=FULL",
            "locking_mode=EXCLUSIVE",
        ):
            self._file.execute(f"PRAGMA {pragma}")
        self._file.execute("CREATE TABLE kept(position INTEGER PRIMARY KEY, data BLOB NOT NULL)")
        self._file.execute("CREATE TABLE sealed(id INTEGER PRIMARY KEY, data BLOB NOT NULL)")

    def offer(self, dialogue: DialogueSet) -> bool:
        """See `Rival`."""
        words = json.dumps([dialogue.id, dialogue.question, dialogue.response])
        self._file.execute("BEGIN IMMEDIATE")
        self._file.execute("DELETE FROM kept WHERE position = ?", (self._seen - self._count,))
        self._file.execute(
            "INSERT INTO kept VALUES (?, ?)", (self._seen, compress_text(words.encode()) + self._EMBEDDING)
        )
        self._file.execute("INSERT OR REPLACE INTO sealed VALUES (1, ?)", (self._PROGRESS,))
        self._file.execute("COMMIT")
        self._seen += 1
        return True


def sklearn_kcenter(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
    """The policy `kcenter` on scikit-learn's kernels, as one would write it: all pairs at every decision.

    Knows no annotations.
    """
    from sklearn.metrics.pairwise import linear_kernel

    if room.needed(()) == 0:
        return []
    vectors = kept.embedding.astype(np.float32)
    products = linear_kernel(vectors)
    to_newcomer = linear_kernel(vectors, newcomer.embedding[None].astype(np.float32))[:, 0]
    np.fill_diagonal(products, -np.inf)
    leaving: list[int] = []
    while len(leaving) < len(vectors):
        pair = np.unravel_index(int(products.argmax()), products.shape)
        if not products[pair] > to_newcomer.max():
            return None
        newer = int(max(pair))
        leaving.append(newer)
        products[newer, :] = products[:, newer] = to_newcomer[newer] = -np.inf
        if room.needed(leaving) is not None:
            return leaving
    return None
