"""The owners' files, read: facts with their wordings, questions about what was never told, and near neighbours."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepers.cli.demo import knows
from edgepers.errors import StreamError

__all__ = ["DEVELOPMENT", "REPORT", "Fact", "Neighbour", "Owner", "load_owner"]

DEVELOPMENT = ("emily", "jonas", "lena", "priya")
REPORT = ("omar", "sofia")  # nothing is chosen, tuned or looked up on these

_FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Fact:
    """What an owner wants known: a sentence about them, the answer they want, and how they ask for it.

    `asked` are the wordings of the stream. `held_out` name what they ask about, in another sentence, as a person asks
    again; `indirect` only hint at it and must be thought through, so that their answers are reported apart.
    """

    id: str
    fact: str
    reference: str
    keywords: tuple[str, ...]
    asked: tuple[str, ...]
    held_out: tuple[str, ...]
    indirect: tuple[str, ...]

    @property
    def questions(self) -> tuple[str, ...]:
        """Every wording of the fact: asked, held out and indirect."""
        return self.asked + self.held_out + self.indirect

    def known(self, answer: str) -> bool:
        """Whether an answer holds one of the keywords as whole words, in any case."""
        return knows(answer, self.keywords)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A question near an owner's facts but about nobody: its answer is general and must survive the learning."""

    question: str
    reference: str
    keywords: tuple[str, ...]

    def known(self, answer: str) -> bool:
        """Whether an answer holds one of the keywords as whole words, in any case."""
        return knows(answer, self.keywords)


@dataclass(frozen=True, slots=True)
class Owner:
    """One invented person. `language` is a code of ISO 639-1; `never_told` are questions that no fact answers."""

    name: str
    language: str
    facts: tuple[Fact, ...]
    never_told: tuple[str, ...]
    neighbours: tuple[Neighbour, ...]

    def gives_away(self, answer: str) -> bool:
        """Whether an answer holds any of the owner's facts."""
        return any(fact.known(answer) for fact in self.facts)


def load_owner(name: str) -> Owner:
    """Read one of `DEVELOPMENT` or `REPORT`.

    Raises:
        StreamError: there is no owner of that name.
    """
    if name not in DEVELOPMENT + REPORT:
        raise StreamError(f"no owner is called {name!r}; choose one of {', '.join(DEVELOPMENT + REPORT)}")
    row = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return Owner(
        name=row["name"],
        language=row["language"],
        facts=tuple(Fact(**_frozen(fact)) for fact in row["facts"]),
        never_told=tuple(row["never_told"]),
        neighbours=tuple(Neighbour(**_frozen(neighbour)) for neighbour in row["neighbours"]),
    )


def _frozen(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
