"""What a buffer looks like as a whole: by domain, age, length and score, and how admissions went."""

from typing import Any

import numpy as np
import numpy.typing as npt

from edgepers.config import Settings
from edgepers.select.index import Index
from edgepers.select.lexicon import words
from edgepers.select.policy import GRID
from edgepers.state.buffer import Buffer

__all__ = ["overview", "spearman"]


def spearman(one: npt.ArrayLike, two: npt.ArrayLike) -> float | None:
    """Spearman's rank correlation of two [n], ties at their mean rank; None where either does not vary."""
    ranks = [_ranks(np.asarray(values, np.float64)) for values in (one, two)]
    if any(len(r) < 3 or np.ptp(r) == 0 for r in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    means: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return means


def overview(buffer: Buffer, settings: Settings) -> dict[str, Any]:
    """What `status` says beside the report. Ages are in sets of the stream, lengths in words of question and response.

    The correlations are Spearman's, of each score with the length, over the sets that are kept: a score that measures
    length is no quality score (design: definitions).
    """
    kept = list(buffer)
    progress = buffer.progress
    scores = Index(len(kept[0].embedding), kept).kept() if kept else None
    length = [len(words(f"{k.question}\n{k.response}")) for k in kept]
    columns: dict[str, npt.NDArray[np.float64]] = {
        "entropy": np.zeros(0) if scores is None else scores.entropy / GRID,
        "domain_score": np.zeros(0) if scores is None else scores.domain_score / GRID,
        "dissimilarity": np.zeros(0) if scores is None else scores.dissimilarity / GRID,
    }
    age = [progress.position - 1 - k.position for k in kept]
    return {
        "next_round_at": (progress.round_position // settings.every + 1) * settings.every,
        "domains": buffer.domains(),
        "payload_bytes": buffer.payload_bytes(),
        "wear": buffer.wear(),
        "quarantined": progress.quarantined,
        "mean_age": float(np.mean(age)) if kept else None,
        "mean_words": float(np.mean(length)) if kept else None,
        "length_correlation": {name: spearman(values, length) for name, values in columns.items()},
        "asked": sum(k.asked > 0 for k in kept),
        "answered": sum(k.annotated for k in kept),
        "admissions": {"sets_each": progress.admissions_span, "admitted": progress.admissions},
        "kept": {
            "age": age,
            "words": length,
            "annotated": [k.annotated for k in kept],
            **{name: [round(float(value), 4) for value in values] for name, values in columns.items()},
        },
    }
