r"""README.md's tables from asked.jsonl: means, and paired differences with their 95 % interval.

Run: python -m studies.selection.table [FILE]
"""

import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.lines import lines_there
from studies.owners.owners import DEVELOPMENT, REPORT
from studies.rouge1.study import table
from studies.selection.asked import OUT, STORAGE, STREAMS, WAYS

Line = dict[str, Any]
_T = {9: 2.262, 19: 2.093}  # Student's t at 97.5 %, by degrees of freedom: two and four owners in five orders


def share(line: Line) -> float:
    """Facts asked about, in percent."""
    return 100 * float(line["facts_asked"]) / float(line["facts"])


def of(lines: Iterable[Line], **wanted: Any) -> list[Line]:
    """The lines with these values."""
    return [line for line in lines if all(line[name] == value for name, value in wanted.items())]


def means(lines: Sequence[Line], storage: int) -> list[str]:
    """A table's rows: each way, and for each stream facts asked about, kept questions besides, sets kept."""
    rows = []
    for policy, ask in WAYS:
        cells = []
        for stream in STREAMS:
            some = of(lines, storage=storage, stream=stream, policy=policy, ask=ask)
            besides, kept = (fmean(float(line[name]) for line in some) for name in ("again", "kept"))
            cells.append(f"{fmean(map(share, some)):.1f} % ({besides:.0f}; {kept:.0f})")
        rows.append([f"{policy}, {ask}", *cells])
    return table(["kept by, asked by", *STREAMS], rows).splitlines()


def difference(lines: Sequence[Line], better: tuple[str, str], than: tuple[str, str]) -> str:
    """Points of facts that one way asks about more than another, over all owners and orders of `lines`."""
    found = []
    for one in of(lines, policy=better[0], ask=better[1]):
        (other,) = of(lines, owner=one["owner"], order=one["order"], policy=than[0], ask=than[1])
        found.append(share(one) - share(other))
    mean, half = fmean(found), _T[len(found) - 1] * stdev(found) / math.sqrt(len(found))
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


PAIRS = (
    (("random", "coverage"), ("random", "newest")), (("random", "coverage"), ("random", "random")),
    (("typical", "coverage"), ("random", "coverage")), (("typical", "coverage"), ("fifo", "coverage")),
    (("typical", "coverage"), ("kcenter", "coverage")),
)  # fmt: skip


def main() -> None:
    """Print the tables."""
    lines = lines_there(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
    for title, owners in (("Report: Omar, Sofia", REPORT), ("Development", DEVELOPMENT)):
        some = [line for line in lines if line["owner"] in owners]
        for storage in STORAGE:
            print(f"\n{title}, {storage // 1000} KB\n", *means(some, storage), sep="\n")
            rows = []
            for better, than in PAIRS:
                cells = [difference(of(some, storage=storage, stream=s), better, than) for s in STREAMS]
                rows.append([f"{', '.join(better)} over {', '.join(than)}", *cells])
            print(f"\n{table(['points more', *STREAMS], rows)}")


if __name__ == "__main__":
    main()
