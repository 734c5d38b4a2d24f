"""The three scores of a micro-batch (paper, section 3).

EOE and embedding come from the hidden states, DSS from the words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgepers import ops
from edgepers.state.embedding import Int8, quantize
from edgepers.state.records import CenterSum

__all__ = ["CENTER_SETS", "Encoder", "Score", "Scored", "Topics", "center_of", "score_texts", "topics_of"]

CENTER_SETS = 256  # the center is the mean row of this many first sets, and never changes after


Score = Callable[[str, Tensor], float]
"""A score of one's own in EOE's place: text and hidden states [n, d] of one set -> the higher, the better."""


Topics = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Embeddings of B questions: unit or zero rows [B, width]."""


class Encoder(Protocol):
    """What turns texts into hidden states; embeddings of two identities are never mixed.

    It may have `topics`, too: B questions -> unit rows float32 [B, topic_width], which the selector then compares.
    """

    identity: str
    hidden_size: int

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Hidden states [sum of n_b, d] and offsets [B + 1]."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What the hidden states of B sets gave."""

    entropy: npt.NDArray[np.float64]  # [B]
    embedding: Int8  # [B, stored width]
    row_sums: npt.NDArray[np.float32]  # [B, d], for a center that is still being made; else [0, d]
    rows: list[int]


def center_of(total: CenterSum | None) -> npt.NDArray[np.float32] | None:
    """The frozen center [d], or None while it is being made."""
    return None if total is None or total.sets < CENTER_SETS else total.total / np.float32(total.rows)


def topics_of(encoder: Encoder, embedding: str) -> tuple[Topics | None, int]:
    """What tells the stored embeddings of questions, None where the hidden states do, and the features of either.

    Args:
        encoder: of the selector.
        embedding: "question": its `topics`, where it has them; "hidden": the mean of the hidden states (the paper's).
    """
    topics: Topics | None = getattr(encoder, "topics", None) if embedding == "question" else None
    return topics, encoder.hidden_size if topics is None else int(encoder.topic_width)  # type: ignore[attr-defined]


def score_texts(
    encoder: Encoder,
    texts: Sequence[str],
    kind: str | Score,
    total: CenterSum | None,
    topics: npt.NDArray[np.float32] | None = None,
) -> Scored:
    """Entropy (or a score of one's own) and stored embedding of each text, each hidden state read once.

    `topics`, unit or zero rows [B, width], are stored in place of the mean of the hidden states.
    """
    hidden, offsets = encoder.encode(texts)
    center = center_of(total)
    on_device = None if center is None else torch.from_numpy(center).to(hidden.device)
    means: Tensor | None = None
    if kind == "windowed":
        entropy, means = ops.score_tokens(hidden, offsets, center=on_device)
    elif callable(kind):
        ends = offsets.tolist()
        entropy = torch.tensor([kind(text, hidden[a:b]) for text, (a, b) in zip(texts, pairwise(ends), strict=True)])
    else:  # the other readings are of the states as they are
        entropy = ops.embedding_entropy(hidden, offsets, kind=kind)
    if topics is None:
        means = ops.mean_unit_embedding(hidden, offsets, center=on_device) if means is None else means
        topics = means.cpu().numpy()
    ends = offsets.tolist()
    pieces = list(pairwise(ends))
    sums = [] if center is not None else [hidden[a:b].sum(0, dtype=torch.float32) for a, b in pieces]
    return Scored(
        entropy=entropy.double().cpu().numpy(),
        embedding=quantize(topics),
        row_sums=torch.stack(sums).cpu().numpy() if sums else np.zeros((0, hidden.shape[1]), np.float32),
        rows=[b - a for a, b in pieces],
    )
