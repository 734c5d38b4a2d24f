"""Embeddings of questions that tell topics apart: what is common in every question is taken out of them.

A mean of last hidden states hardly does: of 194 questions in new words by four owners, 95 to 112 find a stored
question of the same fact nearest on SmolLM2-135M and on Gemma 3 270M, and these 145 and 148 (benchmarks/LOG.md). No
pass through the model is needed: the rows of its own token embeddings are averaged, rare tokens counting more (Arora,
Liang and Ma 2017, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings"), and the mean is whitened (Su et al.
2021, "Whitening Sentence Representations"). How often a token occurs, and which directions are common, is learned from
the packaged questions, so that the first set of a state is compared as the last one is.
"""

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgepers.assets import general_sets, rehearsal_sets, untold_questions

__all__ = ["TOPIC_WIDTH", "TopicEmbedding", "packaged_questions"]

TOPIC_WIDTH = 128  # features, of which a model with fewer gives as many as it has
FREQUENT = 1e-3  # share of all tokens from which on one counts less than half
_LEAST = 1e-3  # of the largest deviation: along a direction with less nothing is told apart

Rows = npt.NDArray[np.float64]


def packaged_questions() -> list[str]:
    """Questions of no owner: what people ask about themselves, and about everything else."""
    files = (untold_questions(), general_sets(), rehearsal_sets())
    lines = (line for path in files for line in path.read_text(encoding="utf-8").splitlines())
    return [str(json.loads(line)["question"]) for line in lines]


class TopicEmbedding:
    """Token ids in, embeddings out: weighted means of a table's rows, whitened.

    Args:
        table: of the token embeddings, [V, d], any dtype and device; it is not kept.
        background: token ids of each of n texts, n > 128, that show what is common.
    """

    def __init__(self, table: Tensor, background: Sequence[Sequence[int]]) -> None:
        counts = np.bincount([token for row in background for token in row], minlength=len(table))
        share = counts / counts.sum()
        self._weight = FREQUENT / (FREQUENT + share)  # [V]
        means = self._means(table, background)
        self._center = means.mean(0)
        _, spread, directions = np.linalg.svd(means - self._center, full_matrices=False)
        at = np.abs(directions).argmax(1)  # a direction and its opposite are as good: one is chosen
        directions *= np.sign(directions[np.arange(len(at)), at])[:, None]
        width = min(TOPIC_WIDTH, len(table[0]))
        deviation = np.maximum(spread[:width], _LEAST * spread[0]) / np.sqrt(len(means))
        self._whiten = (directions[:width] / deviation[:, None]).T  # [d, width]

    def __call__(self, table: Tensor, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """Unit rows [B, width] of B rows of token ids; of an empty one zeros.

        Args:
            table: the same again.
            rows: token ids of each of B texts.
        """
        found = np.zeros((len(rows), self._whiten.shape[1]))
        some = [i for i, row in enumerate(rows) if row]
        if some:
            found[some] = (self._means(table, [rows[i] for i in some]) - self._center) @ self._whiten
        length = np.linalg.norm(found, axis=1, keepdims=True)
        unit: Rows = np.divide(found, length, out=np.zeros_like(found), where=length > 0)
        return unit.astype(np.float32)

    def _means(self, table: Tensor, rows: Sequence[Sequence[int]]) -> Rows:
        """Return the weighted means [B, d] of the table's rows."""
        tokens, place = np.unique([token for row in rows for token in row], return_inverse=True)
        with torch.no_grad():
            vectors = table[torch.from_numpy(tokens).to(table.device)].float().cpu().numpy()
        weights = np.zeros((len(rows), len(tokens)), np.float32)
        np.add.at(weights, (np.repeat(np.arange(len(rows)), [len(row) for row in rows]), place), 1.0)
        weights *= self._weight[tokens].astype(np.float32)
        means: Rows = (weights @ vectors / weights.sum(1, keepdims=True)).astype(np.float64)
        return means
