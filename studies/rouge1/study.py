"""The ROUGE-1 study's lines with what every part of its page asks of them, and how its numbers are written."""

import functools
from collections.abc import Iterable, Sequence

import numpy as np

from studies.rouge1.cells import POLICIES, SHARE
from studies.rouge1.lines import Line, is_core, mean_of_four, means
from studies.rouge1.splits import CONFIRMATORY, EXPLORATORY, OWNERS
from studies.rouge1.statistics import Difference, Side, differences

__all__ = ["NAMES", "RIVAL", "SEEDS", "UNTESTED", "Study", "points", "pooled", "seeds_of", "signed", "table"]

RIVAL = "random"  # best of random, fifo, kcenter on development rows: PROTOCOL.md, Changes
SEEDS = 5  # of the core; with fewer, what is said is interim
UNTESTED = "untested"
NAMES = {
    "alpaca": "ALPACA",
    "dolly": "DOLLY",
    "empathetic_dialogues": "Empathetic",
    "medical_questiondoctors": "questiondoctors",
    "meddialog": "MedDialog",
    "openorca": "OpenOrca",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def points(value: float | None) -> str:
    """Hundredths of ROUGE-1 F."""
    return UNTESTED if value is None else f"{value:.1f}"


def signed(difference: Difference) -> str:
    """Points with their interval."""
    return f"{difference.points:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"


def seeds_of(difference: Difference) -> str:
    """How many are behind it, in words."""
    return f"{difference.seeds} seed{'s' * (difference.seeds > 1)}"


class Study:
    """Lines of one part and one model; rows' dialogues are in those of the base model."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = [line for line in lines if not line["data"].startswith(OWNERS)]
        self.of_owners = [line for line in lines if line["data"].startswith(OWNERS)]
        self.core = [line for line in self.lines if is_core(line)]
        self.confirmatory = [line for line in self.core if line["data"] in CONFIRMATORY]
        of_base = {line["data"]: line["groups"] for line in self.lines if line["arm"] == "base"}
        self.groups = {data: of_base[data] for data in (*CONFIRMATORY, *EXPLORATORY) if data in of_base}
        self.means = means(self.core)
        self.tested = functools.cache(self._tested)  # the verdict and the tables ask for the same

    def at(self, share: float) -> list[Line]:
        """Of this share of the stream's bytes, with what needs no bytes."""
        return [line for line in self.lines if is_core(line, share)]

    def shares(self) -> list[float]:
        """Of the stream's bytes, that some cell has."""
        return sorted({line["share"] for line in self.lines if line["policy"]})

    def _tested(
        self, one: Side, other: Side, share: float = SHARE, data: tuple[str, ...] = CONFIRMATORY
    ) -> list[Difference]:
        """`differences` over these data sets, pooled where all are there; none where either side is missing."""
        found = differences(
            self.at(share), one, other, {name: self.groups[name] for name in data if name in self.groups}
        )
        return found if len(found) > len(data) else [difference for difference in found if difference.data != "pooled"]

    def over_all(self, policy: str, arm: str, share: float = SHARE) -> float | None:
        """Mean points over the confirmatory data sets; None where one is missing."""
        known = self.means if share == SHARE else means(self.at(share))
        return mean_of_four(known.get((policy, arm), {}))

    def gap(self) -> float | None:
        """Points between base and `all`, as `over_all`."""
        base, best = self.over_all("", "base"), self.over_all("", "all")
        return None if base is None or best is None else best - base

    def closed(self, policy: str, arm: str, share: float = SHARE) -> float | None:
        """Of that gap, as a share."""
        base, gap, reached = self.over_all("", "base"), self.gap(), self.over_all(policy, arm, share)
        return None if base is None or not gap or reached is None else (reached - base) / gap

    def best_trained(self) -> tuple[str, str, float] | None:
        """Policy, arm and points of the best of what was trained on 16 annotations a round."""
        trained = {key: mean for key in self.means if key[0] and (mean := self.over_all(*key)) is not None}
        return (*(best := max(trained, key=lambda key: trained[key])), trained[best]) if trained else None

    def spreads(self, arm: str = "repeat") -> tuple[float, float, int] | None:
        """Standard deviations in points.

        Of policies' means, what chance alone would make of it, and the seeds behind a mean.

        Means of a cell over the rows of each data set; both are means over the confirmatory data sets, and of seeds and
        policies that all have. Chance: seeds of one policy, over the root of their number.
        """
        cells = {
            (line["data"], line["policy"], line["seed"]): 100 * float(np.mean(line["rouge1"]))
            for line in self.confirmatory
            if line["arm"] == arm and line["policy"] in POLICIES
        }
        seeds = [
            seed
            for seed in range(SEEDS)
            if all((data, policy, seed) in cells for data in CONFIRMATORY for policy in POLICIES)
        ]
        if len(seeds) < 2:
            return None
        table_of = np.array(
            [[[cells[data, policy, seed] for seed in seeds] for policy in POLICIES] for data in CONFIRMATORY]
        )
        between = table_of.mean(2).std(1, ddof=1).mean()
        within = table_of.std(2, ddof=1).mean()
        return float(between), float(within / len(seeds) ** 0.5), len(seeds)

    def passing(self) -> tuple[int, int]:
        """Variations that passed the check, of all that were asked, on the confirmatory data sets."""
        made = [line for line in self.confirmatory if line["arm"] == "synthesis"]
        kept = sum(line["variations"] for line in made)
        return kept, kept + sum(sum(line["refused"].values()) for line in made)


def pooled(found: Sequence[Difference]) -> Difference | None:
    """The pooled one."""
    return next((difference for difference in found if difference.data == "pooled"), None)
