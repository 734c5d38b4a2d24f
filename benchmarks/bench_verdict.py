r"""What grows with the number of kept sets: a verdict, the next requests, opening a state, and a status.

Run: python -m benchmarks.bench_verdict [--folder DIR] [--sizes 100,1000,10000] [--verdicts 200] [--out FILE]

No model: hidden states come from a synthetic encoder (d = 256, 48 tokens a set), and the buffer is filled until a set
finds no room, so that a verdict has to make some. `folder` is by default on a memory file system, where fsync costs
nothing: on a disk it is the most of a verdict, whatever is kept. One JSON line a case, in milliseconds by the clock
(`p50_ms`) and of the processor (`cpu_p50_ms`); `ratio_to_smallest` compares the latter with that of the smallest size,
since on a machine that others use the clock tells what they do.
"""

import argparse
import json
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import RESULTS, describe
from benchmarks.synthetic import PoolEncoder, arrivals
from edgepers import Buffer, Selector
from edgepers.annotate.requests import requests
from edgepers.config import Settings
from edgepers.report.overview import contents, overview
from edgepers.select.micro_batches import MICRO_BATCH
from edgepers.select.verdicts import Verdicts

Row = dict[str, Any]
Times = list[tuple[float, float]]  # milliseconds by the clock, and of the processor
_OPENINGS = 5  # of each kind, for a median
_ANSWER = "It is called Moon, as I told you, and not what you said."


def bytes_per_set(folder: Path) -> float:
    """What a kept set of the synthetic stream takes on disk."""
    with filled(folder, 1_000_000) as buffer:
        return 1_000_000 / len(buffer)


def filled(folder: Path, storage_bytes: int) -> Buffer:
    """A buffer that has let a set go for want of room."""
    buffer, stream = Buffer(folder, storage_bytes), arrivals()
    selector = Selector(buffer, PoolEncoder(), policy="random")
    while not buffer.progress.full:
        selector.offer(list(islice(stream, MICRO_BATCH)))
    return buffer


def milliseconds(run: Callable[[], object], times: int) -> Times:
    """How long each of so many calls takes, by the clock and of the processor, after one that is not counted."""
    run()
    taken = []
    for _ in range(times):
        start, cpu = time.perf_counter(), time.process_time()
        run()
        taken.append(((time.perf_counter() - start) * 1e3, (time.process_time() - cpu) * 1e3))
    return taken


def verdicts(buffer: Buffer, taker: Verdicts, count: int, seed: int) -> Times:
    """Judge so many sets, every other one with a correction, wherever they lie.

    What left to make room is passed over.
    """
    order = list(buffer.marks.unjudged())
    random.Random(seed).shuffle(order)
    numbered = iter(enumerate(order))

    def judge() -> None:
        number, position = next(one for one in numbered if taker.holds(one[1]))
        refused = taker.annotate(position, _ANSWER if number % 2 else None, 1)
        if refused:
            raise SystemExit(f"a verdict was not kept ({refused}); the times mean nothing")

    return milliseconds(judge, min(count, len(order) // 4))


def cases(folder: Path, storage_bytes: int, count: int) -> Iterator[tuple[str, Times]]:
    """Each case's name and times, on one buffer."""
    with filled(folder, storage_bytes) as buffer:
        yield "verdict", verdicts(buffer, Verdicts(buffer), count, seed=1)
        yield "verdict, model loaded", verdicts(buffer, Selector(buffer, PoolEncoder()), count, seed=2)
        yield "16 requests", milliseconds(lambda: requests(Verdicts(buffer), 2, 16), _OPENINGS)

    def opened(then: Callable[[Buffer], object], *, write: bool = True) -> Times:
        def run() -> None:
            with Buffer(folder, storage_bytes if write else None) as again:
                then(again)

        return milliseconds(run, _OPENINGS)

    settings = Settings()
    yield "open", opened(lambda again: len(again.marks))
    yield "open and read for the selector", opened(lambda again: Selector(again, PoolEncoder()))
    yield "status", opened(lambda again: overview(again, settings), write=False)
    yield "status --json", opened(lambda again: (overview(again, settings), contents(again)), write=False)


def rows(folder: Path, sizes: Sequence[int], count: int) -> Iterator[Row]:
    """All cases for each size."""
    with tempfile.TemporaryDirectory(dir=folder) as small:
        each = bytes_per_set(Path(small))
    smallest: dict[str, float] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            storage_bytes = max(int(size * each), 100_000)
            for case, taken in cases(Path(name), storage_bytes, count):
                clock, cpu = np.array(taken).T
                p20, p50, p80 = (float(np.percentile(clock, share)) for share in (20, 50, 80))
                cpu_p50 = float(np.median(cpu))
                smallest.setdefault(case, cpu_p50)
                yield {
                    "name": case,
                    "kept": size,
                    "storage_bytes": storage_bytes,
                    "times": len(taken),
                    "p20_ms": p20,
                    "p50_ms": p50,
                    "p80_ms": p80,
                    "cpu_p50_ms": cpu_p50,
                    "ratio_to_smallest": cpu_p50 / smallest[case],
                }


def main() -> None:
    """Measure, and append one line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where the states are made")
    parser.add_argument("--sizes", default="100,1000,10000", help="kept sets, about, smallest first")
    parser.add_argument("--verdicts", type=int, default=200, help="timed for each size, at most")
    parser.add_argument("--out", type=Path, default=RESULTS / "verdict.jsonl", help="JSON Lines to append to")
    args = parser.parse_args()
    machine = {"command": shlex.join(["python", "-m", "benchmarks.bench_verdict", *sys.argv[1:]]), **describe()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("a", encoding="utf-8") as lines:
        for row in rows(args.folder, [int(size) for size in args.sizes.split(",")], args.verdicts):
            lines.write(json.dumps(row | machine) + "\n")
            lines.flush()
            times = f"{row['p50_ms']:9.3f} ms, cpu {row['cpu_p50_ms']:9.3f} ms  x {row['ratio_to_smallest']:.2f}"
            print(f"{row['name']:32} {row['kept']:6} {times}", flush=True)


if __name__ == "__main__":
    main()
