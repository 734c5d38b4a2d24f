r"""The selector without a model: time, growth, fsyncs and bytes per set, beside what else there is.

Run: python -m benchmarks.bench_selector [--folder DIR] [--memory-folder /dev/shm] [--quick]
     [--only growth,stream,open,durable,wear,kcenter]

Hidden states come from a synthetic encoder (d = 256, 48 tokens a set) whose time is taken off. `us` of a decision is
from one decision told to the next within a micro-batch: lexicons, policy, compression, storage. "memory": the buffer
lies on a memory file system, where fsync costs nothing. One JSON line a case.
"""

import argparse
import importlib.util
import json
import os
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import RESULTS, describe
from benchmarks.rival_buffers import (
    AppendingReservoir,
    BareSqliteFifo,
    DiskcacheFifo,
    RewritingReservoir,
    Rival,
    sklearn_kcenter,
)
from benchmarks.synthetic import PoolEncoder, arrivals, weakened
from benchmarks.syscalls import count, run_counted
from edgepers import Buffer, Selector
from edgepers.select.decision import Decision
from edgepers.select.index import Index, newcomer_of
from edgepers.select.kcenter import kcenter as kcenter_policy
from edgepers.select.micro_batches import MICRO_BATCH
from edgepers.select.policy import Policy, Room
from edgepers.state.records import KeptSet
from edgepers.streams import Arrival

Row = dict[str, Any]
CASES = ("growth", "stream", "open", "durable", "wear", "kcenter")
_EQUAL_SHARE = 0.1  # of admissions, in the cost of a decided set that is compared between sizes


class Feeder:
    """A selector fed from an endless stream; notes what each decision cost."""

    def __init__(self, folder: Path, storage_bytes: int, policy: str | Policy) -> None:
        self.encoder = PoolEncoder()
        self.buffer = Buffer(folder, storage_bytes)
        self._selector = Selector(self.buffer, self.encoder, policy=policy)
        self._arrivals = arrivals()

    def fill(self) -> None:
        """Go on until a set has found no room."""
        while not self.buffer.progress.full:
            self.offer(MICRO_BATCH)

    def offer(self, sets: int, *, strong_each: int = 1) -> Row:
        """Decide on so many sets, one in `strong_each` not weakened.

        Seconds in all without the encoder's, and by decision.
        """
        mixed = [
            weakened(one) if number % strong_each else one for number, one in enumerate(islice(self._arrivals, sets))
        ]
        batches = [mixed[start : start + MICRO_BATCH] for start in range(0, sets, MICRO_BATCH)]
        taken: dict[bool, list[float]] = {True: [], False: []}
        last = 0.0

        def told(decision: Decision) -> None:
            nonlocal last
            now = time.perf_counter()
            if last:
                taken[decision.admitted].append((now - last) * 1e6)
            last = time.perf_counter()

        encoding, start = self.encoder.seconds, time.perf_counter()
        for batch in batches:
            last = 0.0  # the first decision of a batch waits for its scores
            self._selector.offer(batch, None, told)
        seconds = time.perf_counter() - start - (self.encoder.seconds - encoding)
        return {"seconds": seconds, "admitted_us": taken[True], "dropped_us": taken[False]}

    def contents(self) -> list[int]:
        """Positions kept."""
        return [kept.position for kept in self.buffer]


def shown(sets: int, measured: Row) -> Row:
    """Percentiles of what was measured."""
    row: Row = {"sets": sets, "sets_per_s": sets / measured["seconds"]}
    for name in ("dropped_us", "admitted_us"):
        values = measured[name]
        row[name.replace("_us", "")] = len(values)
        for share in (50, 99):
            row[f"{name[:-3]}_p{share}_us"] = float(np.percentile(values, share)) if values else None
    return row


def bytes_per_set(folder: Path) -> float:
    """What a kept set of this stream takes on disk, from a small buffer."""
    feeder = Feeder(folder, 1_000_000, "fifo")
    with feeder.buffer as buffer:
        feeder.fill()
        return 1_000_000 / len(buffer)


def growth(memory: Path, sizes: Sequence[int], sets: int) -> Iterator[Row]:
    """Cost with more kept, no fsync.

    A large buffer that has just become full admits most sets, a small one few. So sizes are compared at one share of
    admissions: from the median of admissions, and the median of drops among sets of which nine in ten are weakened.
    """
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        each = bytes_per_set(Path(folder))
    costs: dict[str, float] = {}
    for policy in ("quality", "random", "kcenter", "typical"):
        for size in sizes:
            with tempfile.TemporaryDirectory(dir=memory) as folder:
                feeder = Feeder(Path(folder), max(int(size * each), 100_000), policy)
                with feeder.buffer as buffer:
                    feeder.fill()
                    feeder.offer(sets // 4)
                    kept, measured, weak = len(buffer), feeder.offer(sets), feeder.offer(sets, strong_each=10)
            row = {
                "name": policy,
                "kept": kept,
                **shown(sets, measured),
                "weak_dropped_p50_us": float(np.median(weak["dropped_us"])) if weak["dropped_us"] else None,
            }
            if measured["admitted_us"]:
                cost = row["admitted_p50_us"]
                if weak["dropped_us"]:  # `typical` drops nothing
                    cost = (1 - _EQUAL_SHARE) * row["weak_dropped_p50_us"] + _EQUAL_SHARE * cost
                row["us_at_equal_share"] = cost
                row["ratio_to_smallest"] = row["us_at_equal_share"] / costs.setdefault(policy, row["us_at_equal_share"])
            yield row


def stream(memory: Path, windows: int, window: int) -> Iterator[Row]:
    """Cost and memory as a stream goes on."""
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        feeder = Feeder(Path(folder), 1_000_000, "quality")
        with feeder.buffer as buffer:
            for number in range(windows):
                row = shown(window, feeder.offer(window))
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                yield {
                    "name": "quality",
                    "seen": (number + 1) * window,
                    "kept": len(buffer),
                    "peak_rss_bytes": peak,
                    **row,
                }


def opening(memory: Path, sizes: Sequence[int], times: int) -> Iterator[Row]:
    """What lies between opening a state and its first decision, and what k-center then takes for one.

    Reading, the index, the closest pair; in CPU time of the one thread, so that other work on the machine counts
    little.
    """
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        each = bytes_per_set(Path(folder))
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            feeder = Feeder(Path(folder), max(int(size * each), 100_000), "fifo")
            with feeder.buffer as buffer:
                feeder.fill()
                taken = [opened(list(buffer), feeder.encoder.hidden_size, buffer) for _ in range(times)]
                medians = {name: float(np.median([row[name] for row in taken])) for name in taken[0]}
                yield {"name": "reopened", "kept": len(buffer), **medians}


def opened(sets: list[KeptSet], width: int, buffer: Buffer) -> dict[str, float]:
    """One opening: milliseconds of CPU time of each part, microseconds of a decision and of an arrival's IDD."""
    marks = [time.process_time()]
    list(buffer)
    marks.append(time.process_time())
    index = Index(width, sets)
    kept = index.kept()
    marks.append(time.process_time())
    assert kept.pairs is not None
    kept.pairs.follow(kept.embedding, kept.annotated)
    kept.pairs.first()
    marks.append(time.process_time())
    row = dict(
        zip(("read_cpu_ms", "index_cpu_ms", "closest_pair_cpu_ms"), (1e3 * np.diff(marks)).tolist(), strict=True)
    )
    room = Room(0, True, lambda rows: 1 if len(rows) else None, kept.annotated)
    arriving = sets[:: max(len(sets) // 50, 1)]
    marks = [time.process_time()]
    distances = [index.dissimilarity_of(one.embedding, one.domain) for one in arriving]
    marks.append(time.process_time())
    for one, distance in zip(arriving, distances, strict=True):
        kcenter_policy(newcomer_of(one, distance), kept, room)
    marks.append(time.process_time())
    each = (1e6 * np.diff(marks) / len(arriving)).tolist()
    return row | {"arrival_idd_cpu_us": each[0], "kcenter_decision_cpu_us": each[1]}


def fsync_us(folder: Path, times: int) -> list[float]:
    """The disk's own: 4,096 bytes appended to one file, then fsync."""
    taken = []
    with (folder / "fsync").open("ab", buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            start = time.perf_counter()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - start) * 1e6)
    return taken


def durable(disk: Path, storage_bytes: int, sets: int, rounds: int) -> Iterator[Row]:
    """Durable admissions and drops beside the disk's own fsync and the rivals, taking turns on the same disk.

    A disk's fsync may change thirtyfold within a minute, so each turn's admissions are compared with the fsyncs just
    before and after it.
    """
    with tempfile.TemporaryDirectory(dir=disk) as name:
        folder = Path(name)
        feeders = {policy: Feeder(folder / policy, storage_bytes, policy) for policy in ("quality", "random", "fifo")}
        for feeder in feeders.values():
            feeder.fill()
        count_kept = len(feeders["fifo"].buffer)
        rivals = rival_buffers(folder, storage_bytes, count_kept)
        dialogues = (arrival.dialogue for arrival in arrivals(1))
        for rival in rivals.values():
            for dialogue in islice(dialogues, 2 * count_kept):
                rival.offer(dialogue)
        measured: dict[str, Row] = {
            name: {"seconds": 0.0, "admitted_us": [], "dropped_us": []} for name in (*feeders, *rivals)
        }
        syncs: list[float] = []
        ratios: dict[str, list[float]] = {name: [] for name in measured}
        for _ in range(rounds):
            for key, total in measured.items():
                around = fsync_us(folder, 8)
                more = (
                    feeders[key].offer(sets) if key in feeders else offered(rivals[key], list(islice(dialogues, sets)))
                )
                around += fsync_us(folder, 8)
                add(total, more)
                syncs += around
                if more["admitted_us"]:
                    ratios[key].append(float(np.median(more["admitted_us"]) / np.median(around)))
        for feeder in feeders.values():
            feeder.buffer.close()
        own = {f"fsync_p{share}_us": float(np.percentile(syncs, share)) for share in (50, 99)}
        for key, values in measured.items():
            row = {"name": key, "kept": count_kept, **shown(rounds * sets, values), **own}
            yield row | {
                f"admission_to_fsync_p{share}": float(np.percentile(ratios[key], share))
                for share in (20, 50, 80)
                if ratios[key]
            }


def rival_buffers(folder: Path, storage_bytes: int, count_kept: int) -> dict[str, Rival]:
    """The rivals that are installed, each in a folder of its own."""
    rivals: dict[str, Rival] = {}
    makers: dict[str, Callable[[Path], Rival]] = {
        "reservoir JSONL, rewritten": lambda place: RewritingReservoir(place, count_kept),
        "reservoir JSONL, appended": lambda place: AppendingReservoir(place, count_kept),
        "bare SQLite fifo": lambda place: BareSqliteFifo(place, count_kept),
        "diskcache fifo": lambda place: DiskcacheFifo(place, storage_bytes),
    }
    for number, (name, make) in enumerate(makers.items()):
        place = folder / f"rival{number}"
        place.mkdir(exist_ok=True)
        try:
            rivals[name] = make(place)
        except ImportError as error:
            print(f"{name}: left out, {error.name} is not installed", file=sys.stderr)
    return rivals


def offered(rival: Rival, dialogues: list[Any]) -> Row:
    """As `Feeder.offer`, for a rival."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    for dialogue in dialogues:
        start = time.perf_counter()
        kept = rival.offer(dialogue)
        taken[kept].append((time.perf_counter() - start) * 1e6)
    return {
        "seconds": (sum(taken[True]) + sum(taken[False])) / 1e6,
        "admitted_us": taken[True],
        "dropped_us": taken[False],
    }


def add(total: Row, more: Row) -> None:
    """Sum up."""
    for name, value in more.items():
        total[name] += value


def wear(disk: Path, storage_bytes: int, sets: int) -> Iterator[Row]:
    """Bytes handed to write calls, and fsyncs, per set: one process a case, after its buffer is full."""
    for name in (
        "quality",
        "random",
        "fifo",
        "reservoir JSONL, rewritten",
        "reservoir JSONL, appended",
        "diskcache fifo",
    ):
        with tempfile.TemporaryDirectory(dir=disk) as folder:
            arguments = ["benchmarks.bench_selector", "--counted", name, folder, str(storage_bytes), str(sets)]
            printed = run_counted(arguments, Path(folder))
        if printed:
            yield {"name": name, **json.loads(printed)}


def counted(name: str, folder: Path, storage_bytes: int, sets: int) -> Row | None:
    """What `wear` runs in a process of its own."""
    if name in ("quality", "random", "fifo"):
        feeder = Feeder(folder, storage_bytes, name)
        feeder.fill()
        before, admitted = count(), -feeder.buffer.progress.admitted
        feeder.offer(sets)
        after, admitted = count(), admitted + feeder.buffer.progress.admitted
        feeder.buffer.close()
    else:
        kept = int(storage_bytes / 1000)
        rival = rival_buffers(folder, storage_bytes, kept).get(name)
        if rival is None:
            return None
        dialogues: Iterator[Arrival] = arrivals(1)
        for arrival in islice(dialogues, 2 * kept):
            rival.offer(arrival.dialogue)
        before = count()
        admitted = sum(rival.offer(arrival.dialogue) for arrival in islice(dialogues, sets))
        after = count()
    return per_set(before, after, sets, admitted)


def per_set(before: Any, after: Any, sets: int, admitted: int) -> Row:
    """Differences of two counts, per set seen and per set admitted."""
    row: Row = {"sets": sets, "admitted": admitted}
    for key in ("written_bytes", "syncs"):
        if getattr(before, key) is not None:
            total = getattr(after, key) - getattr(before, key)
            row |= {
                key: total,
                f"{key}_per_seen": total / sets,
                f"{key}_per_admitted": total / admitted if admitted else None,
            }
    return row


def kcenter(memory: Path, sizes: Sequence[int], sets: int) -> Iterator[Row]:
    """Ours beside scikit-learn's, through the same selector; both must keep the same sets."""
    policies: dict[str, str | Policy] = {"kcenter": "kcenter", "scikit-learn": sklearn_kcenter}
    if importlib.util.find_spec("sklearn") is None:
        print("scikit-learn is not installed: left out", file=sys.stderr)
        del policies["scikit-learn"]
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        each = bytes_per_set(Path(folder))
    for size in sizes:
        kept: dict[str, list[int]] = {}
        for name, policy in policies.items():
            with tempfile.TemporaryDirectory(dir=memory) as folder:
                feeder = Feeder(Path(folder), max(int(size * each), 100_000), policy)
                with feeder.buffer as buffer:
                    feeder.fill()
                    row = {"name": name, "kept": len(buffer), **shown(sets, feeder.offer(sets))}
                    kept[name] = feeder.contents()
            yield row
        if kept["kcenter"] != kept.get("scikit-learn", kept["kcenter"]):
            raise SystemExit("kcenter and scikit-learn's keep different sets; the times mean nothing")


def main() -> None:
    """Measure what is asked for, and append one line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CASES), help="cases, separated by commas")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk whose fsync counts"
    )
    parser.add_argument("--memory-folder", type=Path, default=Path("/dev/shm"), help="on a memory file system")
    parser.add_argument("--quick", action="store_true", help="the smallest of each, for a test")
    parser.add_argument("--out", type=Path, default=RESULTS / "selector.jsonl")
    parser.add_argument("--counted", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.counted:
        name, folder, storage_bytes, sets = args.counted
        row = counted(name, Path(folder), int(storage_bytes), int(sets))
        print("" if row is None else json.dumps(row), end="")
        return
    memory = args.memory_folder if args.memory_folder.is_dir() else args.folder
    quick = args.quick
    runs: dict[str, Iterator[Row]] = {
        "growth": growth(memory, (100,) if quick else (100, 1_000, 10_000), 64 if quick else 4_000),
        "stream": stream(memory, 2 if quick else 10, 64 if quick else 10_000),
        "open": opening(memory, (100,) if quick else (100, 1_000, 10_000), 1 if quick else 7),
        "durable": durable(args.folder, 100_000 if quick else 281_000, 32, 1 if quick else 16),
        "wear": wear(args.folder, 100_000 if quick else 281_000, 64 if quick else 2_000),
        "kcenter": kcenter(memory, (100,) if quick else (100, 1_000), 64 if quick else 320),
    }
    machine, command = describe(), f"python -m benchmarks.bench_selector {shlex.join(sys.argv[1:])}".rstrip()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("a", encoding="utf-8") as lines:
        for case in args.only.split(","):
            print(f"\n{case}", flush=True)
            for row in runs[case]:
                print(
                    "  " + ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()),
                    flush=True,
                )
                lines.write(json.dumps({"case": case, **row, "command": command, **machine}) + "\n")
                lines.flush()


if __name__ == "__main__":
    main()
