"""What a buffer looks like as a whole: what is known of it without opening a record, and what the records hold."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepers.config import Settings
from edgepers.select.index import Index
from edgepers.select.lexicon import words
from edgepers.select.policy import GRID
from edgepers.state.buffer import Buffer

__all__ = ["contents", "overview", "spearman"]


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
    """Tell what is known of a buffer without opening a record: asked, answered, age, admissions, wear.

    Ages are in sets of the stream.
    """
    progress, marks = buffer.progress, buffer.marks
    return {
        "next_round_at": progress.next_round(settings.every),
        "payload_bytes": buffer.payload_bytes(),
        "wear": buffer.wear(),
        "quarantined": progress.quarantined,
        "mean_age": float(np.mean([progress.position - 1 - position for position in marks])) if len(marks) else None,
        "asked": marks.asked,
        "answered": marks.annotated,
        "admissions": {"sets_each": progress.admissions_span, "admitted": list(progress.admissions)},
    }


def contents(buffer: Buffer) -> dict[str, Any]:
    """What the kept sets are, for which every record is opened, once. Lengths are in words of question and response.

    The correlations are Spearman's, of each score with the length, over the sets that are kept: a score that measures
    length is no quality score.
    """
    kept = list(buffer)
    scores = Index(len(kept[0].embedding), kept).kept() if kept else None
    length = [len(words(f"{k.question}\n{k.response}")) for k in kept]
    columns: dict[str, npt.NDArray[np.float64]] = {
        "entropy": np.zeros(0) if scores is None else scores.entropy / GRID,
        "domain_score": np.zeros(0) if scores is None else scores.domain_score / GRID,
        "dissimilarity": np.zeros(0) if scores is None else scores.dissimilarity / GRID,
    }
    return {
        "domains": dict(sorted(Counter(k.domain for k in kept).items(), key=lambda item: (-item[1], item[0]))),
        "mean_words": float(np.mean(length)) if kept else None,
        "length_correlation": {name: spearman(values, length) for name, values in columns.items()},
        "kept": {
            "age": [buffer.progress.position - 1 - k.position for k in kept],
            "words": length,
            "annotated": [k.annotated for k in kept],
            **{name: [round(float(value), 4) for value in values] for name, values in columns.items()},
        },
    }
