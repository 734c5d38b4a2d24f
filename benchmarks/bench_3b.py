r"""Train a model of Llama-3.2-3B's shape on sets of 512 tokens, within a limit that the kernel enforces.

Run: python -m benchmarks.bench_3b [--limit 3.5GB] [--steps 2] [--models DIR] [--out FILE]

The limit is a memory cgroup of this process's own (version 1 or 2, needs the right to make one), for Python, its
libraries, the page cache of the files that are read, loading and training together; without that right, RLIMIT_DATA,
which counts reserved memory, too. What is beyond it is an error or the end of this process. Weights are random
(benchmarks/shapes.py); how the run is laid out is chosen by `edgepers.plan.fit` within the limit less what the
libraries hold.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.harness import RESULTS, describe
from benchmarks.shapes import make_model
from edgepers.config import parse_size
from edgepers.model.heap import tune_malloc

_CGROUPS = Path("/sys/fs/cgroup")
TOKENS = 512


def limit_memory(size: int) -> str:
    """Hold this process to so many bytes; how."""
    for root, bound in ((_CGROUPS / "memory", "memory.limit_in_bytes"), (_CGROUPS, "memory.max")):
        own = root / f"edgepers-{os.getpid()}"
        with suppress(OSError):
            own.mkdir()
            (own / bound).write_text(str(size))
            (own / "cgroup.procs").write_text(str(os.getpid()))
            return f"memory cgroup ({bound})"
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    return "RLIMIT_DATA"


def main() -> None:
    """Load, train, and append one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=parse_size, default=parse_size("3.5GB"))
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "edgepers-shapes")
    parser.add_argument("--out", type=Path, default=RESULTS / "train_3b.jsonl")
    args = parser.parse_args()
    model = make_model("3B", args.models / "3B")
    tune_malloc()
    how = limit_memory(args.limit)
    import psutil
    import torch

    from edgepers.meter.memory import MemoryMeter
    from edgepers.model.language_model import Example, LanguageModel
    from edgepers.model.loading import import_libraries
    from edgepers.plan.fit import fit
    from edgepers.plan.shapes import ModelShapes
    from edgepers.train.recipe import Recipe
    from edgepers.train.trainer import train

    import_libraries()
    meter = MemoryMeter()
    libraries = psutil.Process().memory_info().rss
    began = time.perf_counter()
    llm = LanguageModel.load(str(model))
    loading, load_seconds = meter.peak_bytes(), time.perf_counter() - began
    generator = torch.Generator().manual_seed(0)
    made = [torch.randint(10, llm.vocabulary, (TOKENS + 1,), generator=generator).tolist() for _ in range(args.steps)]
    llm.example = lambda question, response, max_tokens: Example(tuple(made[int(question)]), TOKENS // 2 + 1, False)  # type: ignore[method-assign]
    lengths = [(TOKENS // 2 + 1, TOKENS // 2)]
    found = fit(ModelShapes.like(llm), lengths, Recipe(steps=1, batch=1), args.limit - libraries)
    ends: list[float] = []
    losses: list[float] = []

    def told(step: object) -> None:
        ends.append(time.perf_counter())
        losses.append(step.loss)  # type: ignore[attr-defined]

    with tempfile.TemporaryDirectory() as folder:
        pairs = [(str(number), "") for number in range(args.steps)]
        train(
            llm, pairs, Path(folder), Recipe(steps=args.steps, batch=1), configuration=found.configuration, on_step=told
        )
    row = {
        "name": "train 3B",
        "limit_bytes": args.limit,
        "enforced_by": how,
        "libraries_bytes": libraries,
        "loading_peak_bytes": loading,
        "peak_bytes": meter.peak_bytes(),
        "planned_bytes": found.total,
        "configuration": str(found.configuration),
        "losses": losses,
        "load_seconds": load_seconds,
        "seconds_a_step": (ends[-1] - ends[0]) / max(args.steps - 1, 1),
        **describe(),
    }
    print(json.dumps(row))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
