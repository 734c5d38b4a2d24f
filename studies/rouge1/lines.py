"""The ROUGE-1 study's result file: a line a cell, and what is asked of lines by all who read them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lines import append_line, lines_there
from studies.rouge1.cells import REFERENCES, ROUNDS, SHARE, STEPS, Cell
from studies.rouge1.splits import CONFIRMATORY

__all__ = ["Line", "keep", "mean_of_four", "means", "missing_cells", "plain", "study_lines"]

Line = Mapping[str, Any]


def study_lines(file: Path) -> list[Line]:
    """All of a file; those of before cells had steps and rounds are of the protocol's."""
    return [{"rounds": ROUNDS, "steps": STEPS} | line for line in lines_there(file)]


def missing_cells(cells: Mapping[str, Sequence[Cell]], file: Path) -> dict[str, list[Cell]]:
    """Those that have no line yet, by data set."""
    there = {Cell(**{name: line[name] for name in Cell.__dataclass_fields__}) for line in study_lines(file)}
    return {data: left for data, of in cells.items() if (left := [cell for cell in of if cell not in there])}


def keep(cell: Cell, found: Mapping[str, Any], machine: Mapping[str, Any], file: Path) -> None:
    """Append a cell's line, and say it."""
    append_line(file, {**asdict(cell), **found, **machine})
    shown = {name: value for name, value in found.items() if not isinstance(value, list)}
    print(
        cell.data, cell.policy or "-", cell.arm, cell.seed, f"ROUGE-1 {np.mean(found['rouge1']):.4f}", shown, flush=True
    )


def plain(line: Line) -> bool:
    """No variant of a policy or an arm."""
    return "@" not in line["policy"] + line["arm"]


def is_core(line: Line, share: float = SHARE) -> bool:
    """Whether a line is of the core: 5 % of bytes (or this share), the whole stream, the steps of the protocol.

    Or a reference.
    """
    return (line["share"], line["rounds"], line["steps"]) == (share, ROUNDS, STEPS) or line["arm"] in REFERENCES


def means(lines: Iterable[Line]) -> dict[tuple[str, str], dict[str, float]]:
    """Mean ROUGE-1 F in points over rows and seeds, by (policy, arm), then by data set."""
    cells: dict[tuple[str, str], dict[str, list[float]]] = {}
    for line in lines:
        of = cells.setdefault((line["policy"], line["arm"]), {})
        of.setdefault(line["data"], []).append(100 * float(np.mean(line["rouge1"])))
    return {key: {data: float(np.mean(values)) for data, values in of.items()} for key, of in cells.items()}


def mean_of_four(of: Mapping[str, float]) -> float | None:
    """Over the confirmatory data sets, each counting the same; None where one is missing."""
    return float(np.mean([of[data] for data in CONFIRMATORY])) if set(CONFIRMATORY) <= set(of) else None
