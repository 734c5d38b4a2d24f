"""The ROUGE-1 study's statistics: paired differences with intervals, from its lines alone.

PROTOCOL.md, section Tests.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from studies.rouge1.lines import Line

__all__ = ["Difference", "Side", "differences", "holm", "matrix"]

DRAWS = 10_000
Floats = npt.NDArray[np.float64]
Draws = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: which cells."""

    policy: str
    arm: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One side less the other, in points (hundredths) of ROUGE-1 F.

    Attributes:
        data: set of data, or "pooled".
        points: mean over seeds and rows.
        low: of the 95 % interval.
        high: of it.
        p: two-sided.
        holm: p after Holm's correction over the data sets; the pooled one's own.
        seeds: behind it.
        rows: of test.
    """

    data: str
    points: float
    low: float
    high: float
    p: float
    holm: float
    seeds: int
    rows: int


def matrix(lines: Iterable[Line], data: str, side: Side) -> dict[int, Floats]:
    """ROUGE-1 F of each row, [rows], by seed."""
    return {
        line["seed"]: np.asarray(line["rouge1"], float)
        for line in lines
        if (line["data"], line["policy"], line["arm"]) == (data, side.policy, side.arm)
    }


def drawn_means(values: Floats, groups: Sequence[int], rng: np.random.Generator, draws: int = DRAWS) -> Draws:
    """Means of [seeds, rows] with seeds and groups of rows drawn with replacement: hierarchical bootstrap, [draws]."""
    seeds = len(values)
    sizes = np.bincount(groups).astype(float)
    sums = np.stack([np.bincount(groups, weights=row) for row in values])  # [seeds, groups]
    chosen = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=draws).astype(float)
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    totals = chosen @ sums.T  # [draws, seeds]
    found: Draws = (totals * weights).sum(1) / (chosen @ sizes)
    return found


def p_value(draws: Draws) -> float:
    """Two-sided: twice the share of draws on the other side of zero, never below what so many draws can tell."""
    beyond = min(np.mean(draws <= 0), np.mean(draws >= 0))
    return float(min(max(2 * beyond, 2 / len(draws)), 1.0))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down correction."""
    order = np.argsort(values)
    corrected = np.maximum.accumulate([min((len(values) - i) * values[k], 1.0) for i, k in enumerate(order)])
    out = np.empty(len(values))
    out[order] = corrected
    return [float(value) for value in out]


def differences(
    lines: Sequence[Line],
    one: Side,
    other: Side,
    groups: Mapping[str, Sequence[int]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Difference]:
    """Of each data set that has both sides for some seed, and pooled.

    The mean of these data sets, each counting the same.

    Args:
        lines: of one part, share, model and number of rounds.
        one: minuend.
        other: subtrahend; paired with it by seed and row.
        groups: number of each row's dialogue, from 0, by data set.
        draws: of the bootstrap.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    found: list[Difference] = []
    drawn: dict[str, Draws] = {}
    for data, of in groups.items():
        ours, theirs = matrix(lines, data, one), matrix(lines, data, other)
        both = sorted(set(ours) & set(theirs))
        if not both:
            continue
        values = 100 * np.stack([ours[seed] - theirs[seed] for seed in both])
        drawn[data] = drawn_means(values, of, rng, draws)
        found.append(_difference(data, float(values.mean()), drawn[data], len(both), values.shape[1]))
    corrected = holm([difference.p for difference in found])
    found = [replace(difference, holm=value) for difference, value in zip(found, corrected, strict=True)]
    if len(found) > 1:
        mean = float(np.mean([difference.points for difference in found]))
        pooled = _difference(
            "pooled", mean, np.mean(list(drawn.values()), 0), min(d.seeds for d in found), sum(d.rows for d in found)
        )
        found.append(pooled)
    return found


def _difference(data: str, points: float, draws: Draws, seeds: int, rows: int) -> Difference:
    low, high = np.percentile(draws, [2.5, 97.5])
    p = p_value(draws)
    return Difference(data, points, float(low), float(high), p, p, seeds, rows)
