"""What the server counts, as Prometheus reads it: numbers and fixed words, never a talk's text."""

from collections import Counter
from collections.abc import Iterable, Mapping

__all__ = ["Metrics", "exposition"]

Samples = Iterable[tuple[Mapping[str, str], float]]


class Metrics:
    """Requests by route and status, and how long answers took.

    Attributes:
        requests: by (route, status).
        first_seconds: of all answers, until their first piece.
        answer_seconds: of all answers, until their end.
        answers: how many.
        left: answers that nobody waited for to the end.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.first_seconds = self.answer_seconds = 0.0
        self.answers = self.left = 0

    def answered(self, first: float, whole: float) -> None:
        """An answer was given, its first piece after so many seconds."""
        self.answers += 1
        self.first_seconds += first
        self.answer_seconds += whole


def exposition(families: Mapping[str, tuple[str, str, Samples]]) -> str:
    """Prometheus's text form, of kind, help and samples by the family's name."""
    lines = []
    for name, (kind, help, samples) in families.items():
        lines += [f"# HELP edgepers_{name} {help}", f"# TYPE edgepers_{name} {kind}"]
        for labels, value in samples:
            inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
            lines.append(f"edgepers_{name}{f'{{{inside}}}' if inside else ''} {value:g}")
    return "\n".join(lines) + "\n"
