"""Variations of one annotated set, as records that can be written down."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

__all__ = ["Variations", "sum_counts"]


@dataclass(frozen=True, slots=True)
class Variations:
    """What came of varying one set: (question, response) pairs to train on, and refusals by reason.

    `made_from` is a digest of the text varied.
    """

    position: int
    round: int  # that wrote them
    made_from: str
    pairs: tuple[tuple[str, str], ...]
    refused: dict[str, int]

    def to_json(self) -> str:
        """Write the variations as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> "Variations":
        """Read the line that `to_json` wrote."""
        values = json.loads(line)
        pairs = tuple((question, response) for question, response in values["pairs"])
        return cls(values["position"], values["round"], values["made_from"], pairs, values["refused"])


def sum_counts(*counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by reason, added up, in order of the reason's name."""
    return {
        reason: sum(c.get(reason, 0) for c in counts) for reason in sorted({reason for c in counts for reason in c})
    }
