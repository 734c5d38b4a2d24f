r"""What changed beyond noise between two result files. Run: python -m benchmarks.compare BEFORE AFTER.

A case has changed where its spread (20th to 80th percentile, over all its lines) does not touch the one before, and its
median changed by more than

- the machine did: its bandwidths or its matrix rate, whichever changed most, measured beside it. So a machine that
  is slower as a whole, since others use it, is no change;
- cases do in general from one file to the other: three times their scatter (median distance from the median change, as
  a standard deviation). The spread within a run knows nothing of what differs between runs, but the rivals, whose code
  stays, do.
"""

import argparse
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.lines import Measured, measured, read_lines
from edgepers.text import table

MACHINE = ("device", "isa", "threads", "power_mode", "torch")
CEILINGS = ("copy_gb_s", "read_gb_s", "matrix_gflop_s")


def ratio(before: Measured, after: Measured) -> float:
    """Of the medians: above 1 is slower."""
    return after.p50 / before.p50


def drift(before: Measured, after: Measured) -> float:
    """By which factor, at least 1, the machine itself changed between the two, either way."""
    factors = [1.0]
    for name in CEILINGS:
        values = [[row[name] for row in case.rows if row.get(name)] for case in (before, after)]
        if all(values):
            one, two = (sum(own) / len(own) for own in values)
            factors.append(max(one / two, two / one))
    return max(factors)


def scatter(ratios: Sequence[float]) -> float:
    """Of the logarithms of all changes.

    Their median distance from their median, as a normal distribution's standard deviation.
    """
    logs = [math.log(one) for one in ratios]
    middle = statistics.median(logs)
    return 1.4826 * statistics.median(abs(one - middle) for one in logs)


def has_changed(before: Measured, after: Measured, scattered: float) -> bool:
    """Whether the difference is more than noise."""
    apart = after.p20 > before.p80 or after.p80 < before.p20
    return apart and abs(math.log(ratio(before, after))) > max(math.log(drift(before, after)), 3 * scattered)


def lines(before: dict[tuple[str, str], Measured], after: dict[tuple[str, str], Measured]) -> Iterator[str]:
    """The comparison, as text."""
    both = [case for case in before if case in after]
    scattered = scatter([ratio(before[case], after[case]) for case in both])
    changed = [case for case in both if has_changed(before[case], after[case], scattered)]
    yield from _machines(before, after)
    for title, chosen in (
        ("slower", [case for case in changed if ratio(before[case], after[case]) > 1]),
        ("faster", [case for case in changed if ratio(before[case], after[case]) < 1]),
    ):
        chosen.sort(key=lambda case: -abs(math.log(ratio(before[case], after[case]))))
        rows = [
            (*case, _spread(before[case]), _spread(after[case]), f"{ratio(before[case], after[case]):.2f}x")
            for case in chosen
        ]
        if rows:
            yield f"\n{title}:\n" + table(rows, ("group", "case", "before, ms", "after, ms", "time"))
    gone, new = [case for case in before if case not in after], [case for case in after if case not in before]
    for title, chosen in (("only before", gone), ("only after", new)):
        if chosen:
            yield f"\n{title}:\n" + "\n".join(f"  {group}: {name}" for group, name in chosen)
    yield (
        f"\n{len(changed)} of {len(both)} cases changed beyond noise; three times the scatter of all is"
        f" {math.expm1(3 * scattered):.0%}"
    )


def _machines(before: dict[tuple[str, str], Measured], after: dict[tuple[str, str], Measured]) -> Iterator[str]:
    """What differs between the machines: then times are compared that are no measure of the code."""
    for name in MACHINE:
        one, two = ({str(row.get(name)) for case in file.values() for row in case.rows} for file in (before, after))
        if one != two:
            yield f"not the same machine: {name} {', '.join(sorted(one))} before, {', '.join(sorted(two))} after"


def _spread(case: Measured) -> str:
    return f"{case.p50:.4g} ({case.p20:.4g} .. {case.p80:.4g})"


def main(argv: list[str] | None = None) -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    args = parser.parse_args(argv)
    files = []
    for file in (args.before, args.after):
        files.append(measured(read_lines(file)))
        if not files[-1]:
            raise SystemExit(
                f"{file}: no line has group, name, p20_ms, p50_ms and p80_ms; give a file that the harness wrote"
            )
    if not files[0].keys() & files[1].keys():
        raise SystemExit(f"{args.before} and {args.after} have no case in common")
    print("\n".join(lines(*files)).lstrip("\n"))


if __name__ == "__main__":
    main()
