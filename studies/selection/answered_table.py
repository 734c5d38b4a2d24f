r"""README.md's table of answers from answered.jsonl, with paired differences and their 95 % intervals.

Run: python -m studies.selection.answered_table [FILE]
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.lines import lines_there
from studies.rouge1.study import table
from studies.selection.answered import ASKS, OUT

Line = dict[str, Any]
DRAWS = 10_000


def differences(lines: Sequence[Line], better: str, than: str) -> list[npt.NDArray[np.float64]]:
    """Points of held-out questions answered that one order of asking has more than another.

    Returns:
        For each owner, [orders of the stream that both have, facts], in percent of a fact's questions.
    """
    found = []
    for owner in sorted({line["owner"] for line in lines}):
        of = {(line["ask"], line["order"]): line["known"] for line in lines if line["owner"] == owner}
        orders = sorted(order for ask, order in of if ask == better and (than, order) in of)
        if orders:
            facts = sorted(of[better, orders[0]])
            found.append(
                np.array([[100 * (fmean(of[better, o][f]) - fmean(of[than, o][f])) for f in facts] for o in orders])
            )
    return found


def interval(of_owners: Sequence[npt.NDArray[np.float64]], seed: int = 0) -> tuple[float, float, float]:
    """Mean over owners, and the 95 % interval of a bootstrap that draws facts, then orders, within each owner."""
    rng = np.random.default_rng(seed)
    draws = np.zeros(DRAWS)
    for one in of_owners:
        orders, facts = one.shape
        picked_facts = rng.integers(facts, size=(DRAWS, facts))
        picked_orders = rng.integers(orders, size=(DRAWS, orders))
        drawn = one[picked_orders[:, :, None], picked_facts[:, None, :]]
        draws += drawn.mean((1, 2)) / len(of_owners)
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(np.mean([one.mean() for one in of_owners])), float(low), float(high)


def rows(lines: Sequence[Line]) -> list[list[str]]:
    """One row an order of asking: means, and what the first of `ASKS` has more."""
    found = []
    for ask in ASKS:
        some = [line for line in lines if line["ask"] == ask]
        if not some:
            continue
        told = fmean(100 * len(line["told"]) / line["facts"] for line in some)
        known = fmean(100 * fmean(hit for hits in line["known"].values() for hit in hits) for line in some)
        cells = [ask, str(len(some)), f"{told:.0f} %", f"{known:.1f} %"]
        cells += [f"{fmean(line['rouge1'] for line in some):.1f}", f"{fmean(line['leaked'] for line in some):.1f}"]
        cells += [f"{100 * fmean(line['perplexity_rise'] for line in some):+.1f} %"]
        cells += [f"{fmean(line['seconds'] for line in some):.0f}"]
        paired = differences(lines, ASKS[0], ask)
        if ask == ASKS[0]:
            cells.append("")
        else:
            cells.append("{:+.1f} [{:+.1f}, {:+.1f}]".format(*interval(paired)) if paired else "untested")
        found.append(cells)
    return found


def main() -> None:
    """Print the table."""
    lines = lines_there(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
    head = ["asked by", "runs", "facts told", "answered", "ROUGE-1", "leaked of 20", "perplexity", "seconds"]
    print(table([*head, f"{ASKS[0]} has more"], rows(lines)))


if __name__ == "__main__":
    main()
