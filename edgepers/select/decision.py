"""What became of a set that was offered to a selector."""

from dataclasses import dataclass

__all__ = ["Decision"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one set."""

    position: int
    admitted: bool
    reason: str  # "" where admitted; "policy", "repeat" or "too_big" where dropped
    evicted: tuple[int, ...]
    domain: str
    entropy: float
    domain_score: float
    dissimilarity: float
    why: str  # one line for the owner, where the selector explains
    question: str
    same: int | None = None  # position of the kept set that a repeat was counted on
