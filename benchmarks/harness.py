"""How everything here is timed.

The result is checked first, then warm-up, then medians and their spread, and the machine's own ceilings.

A case that gives a wrong result is not timed: the run ends. Copy bandwidth and matrix rate are measured in the same
process, between the cases they are compared with, on the same number of threads.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from edgepers.board.reading import read_board
from edgepers.device import clocks_mhz, device_name
from edgepers.meter.energy import EnergyMeter
from edgepers.ops import native

RESULTS = Path(__file__).parent / "results"
_COPIED = 1 << 28  # bytes of one copy: far out of every cache
_SECONDS = 0.4  # time spent on one case after warm-up, or
_ROUNDS = 5  # this many rounds, whichever is longer


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to time.

    Args:
        group: cases of one group are compared with each other, such as "score_tokens float32 d=256 B=8".
        name: which implementation.
        run: what is timed.
        truth: what `run` must return, in float64.
        slack: largest difference from it that is no error.
        bytes_moved: the least that memory must move for it; None where that says nothing.
        facts: more columns.
    """

    group: str
    name: str
    run: Callable[[], Any]
    truth: Any
    slack: float
    bytes_moved: int | None
    facts: dict[str, Any] = field(default_factory=dict)


def measure(cases: Iterator[Case], out: Path) -> None:
    """Time all cases and append one JSON line for each to `out`; print a table."""
    machine = describe()
    meter = EnergyMeter.find()
    machine |= {f"energy_{name}": value for name, value in meter.describe().items() if name != "power_mode"}
    out.parent.mkdir(parents=True, exist_ok=True)
    ceilings: dict[str, float] = {}
    with out.open("a", encoding="utf-8") as lines:
        group = ""
        for case in cases:
            if case.group != group:
                group = case.group
                ceilings = {
                    "copy_gb_s": copy_bandwidth(),
                    "read_gb_s": read_bandwidth(),
                    "matrix_gflop_s": matrix_rate(),
                }
                print(
                    f"\n{group}   " + ", ".join(f"{name} {value:.1f}" for name, value in ceilings.items()), flush=True
                )
            error = difference(case.run(), case.truth)
            if not error <= case.slack:
                raise SystemExit(
                    f"{case.group}: {case.name} is off by {error:.3g} (at most {case.slack:.3g}); not timed"
                )
            with meter.window() as window:
                p20, p50, p80, calls = timed(case.run)
            rate = None if case.bytes_moved is None else case.bytes_moved / p50 / 1e9
            row = {
                "group": case.group,
                "name": case.name,
                **case.facts,
                "error": error,
                "p20_ms": p20 * 1e3,
                "p50_ms": p50 * 1e3,
                "p80_ms": p80 * 1e3,
                "joules": window.spent.joules / calls if window.spent.joules else None,
                "gb_s": rate,
                "share_of_copy": None if rate is None else rate / ceilings["copy_gb_s"],
                **ceilings,
                **machine,
            }
            lines.write(json.dumps(row) + "\n")
            lines.flush()
            spread = f"{p20 * 1e3:9.3f} .. {p80 * 1e3:9.3f}"
            shares = "" if rate is None else f"  {rate:6.1f} GB/s  {row['share_of_copy']:4.0%} of copy"
            print(f"  {case.name:16} {p50 * 1e3:9.3f} ms ({spread}){shares}  off by {error:.1g}")


class Timing(NamedTuple):
    """Seconds of one call: the 20th, 50th and 80th percentile of `calls - 1`, the first being warm-up."""

    p20: float
    p50: float
    p80: float
    calls: int


def timed(run: Callable[[], Any]) -> Timing:
    """Time a call: by the clock on a CPU, by the device's events on a GPU, whose cache is emptied before each call."""
    run()
    once = _on_gpu if torch.cuda.is_available() else _by_clock
    seconds: list[float] = []
    while len(seconds) < _ROUNDS or sum(seconds) < _SECONDS:
        seconds.append(once(run))
    seconds.sort()
    p20, p50, p80 = (seconds[int(share * (len(seconds) - 1))] for share in (0.2, 0.5, 0.8))
    return Timing(p20, p50, p80, len(seconds) + 1)


def _by_clock(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _on_gpu(run: Callable[[], Any]) -> float:
    """Seconds between two events around a call that finds nothing of its input in the L2 cache."""
    cache = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
    torch.empty(2 * cache, dtype=torch.uint8, device="cuda").zero_()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def difference(got: Any, truth: Any) -> float:
    """Largest absolute difference; infinity where a value is not finite."""
    if isinstance(got, Tensor):
        if not got.isfinite().all():
            return float("inf")
        return float((got.cpu().double() - truth).abs().max()) if got.numel() else 0.0
    return max(difference(*pair) for pair in zip(got, truth, strict=True))


def copy_bandwidth() -> float:
    """GB/s of a plain copy, what is read and what is written added up."""
    source = torch.ones(_COPIED // 4, device=device())
    target = torch.empty_like(source)
    return 2 * _COPIED / timed(lambda: target.copy_(source))[1] / 1e9


def read_bandwidth() -> float:
    """GB/s of summing an array up: what reading alone reaches, as a copy counts its writes, too."""
    source = torch.ones(_COPIED // 4, device=device())
    return _COPIED / timed(source.sum)[1] / 1e9


def matrix_rate() -> float:
    """GFLOP/s of a float32 product of two squares of 1,024."""
    a = torch.rand(1024, 1024, device=device())
    return 2 * 1024**3 / timed(lambda: a @ a)[1] / 1e9


def device() -> str:
    """Where benchmarks run: the GPU where torch has one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def synchronize() -> None:
    """Wait for the GPU: clocks are read only after the work is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def describe() -> dict[str, Any]:
    """What a number means nothing without."""
    return {
        "device": device_name(),
        "isa": native.isa() if native.has("cpu") else None,
        "threads": torch.get_num_threads(),
        "power_mode": read_board().power_mode,
        "clocks_mhz": clocks_mhz(),
        "commit": _output(["git", "rev-parse", "--short", "HEAD"]),
        "dirty": bool(_output(["git", "status", "--porcelain", "--", "csrc", "edgepers"])),
        "torch": torch.__version__,
    }


def _output(command: list[str]) -> str | None:
    try:
        return (
            subprocess.run(
                command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]
            ).stdout.strip()
            or None
        )
    except (OSError, subprocess.CalledProcessError):
        return None
