r"""Everything on the harness: ops, selector, encoding, answering, training; then one page with pictures.

Run: python -m benchmarks.all [--full] [--only ops,selector,encode,answer,train] [--out DIR] [--threads N]

Without --full: the packaged model and the ops at two widths, under ten minutes on two cores. With it: all sizes of the
ops, torch.compile among the rivals, and a random model of 185 M parameters beside the packaged one. Files:
DIR/lines.jsonl, to which each run appends, and made from it alone report.md and its pictures.
"""

import argparse
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks import bench_ops, bench_stages
from benchmarks.harness import Case, measure
from benchmarks.report import write_report
from benchmarks.shapes import make_model
from edgepers.assets import model_folder
from edgepers.model.heap import tune_malloc

MODELS = Path(tempfile.gettempdir()) / "edgepers-shapes"
BENCHES = ("ops", "selector", "encode", "answer", "train")


def ops(*, full: bool) -> Iterator[Case]:
    """Cases of bench_ops: all, or some of each op without what takes long to prepare."""
    if full:
        yield from bench_ops.cases(quick=False)
        return
    counts = bench_ops.lengths()
    for dtype, width, batch in itertools.product((torch.float32, torch.bfloat16), (256, 2048), (8, 64)):
        yield from bench_ops.score_cases(counts, width, batch, dtype, centred=True, compiled=False)
    yield from bench_ops.similarity_cases(512, 16, 10_000)


def cases(names: list[str], *, full: bool) -> Iterator[Case]:
    """All cases of some benches."""
    models = {"packaged": str(model_folder())}
    if full and {"encode", "answer", "train"} & set(names):
        models["0.2B"] = str(make_model("0.2B", MODELS / "0.2B"))
    stages: dict[str, Callable[[str | None, str], Iterator[Case]]] = {
        "encode": bench_stages.encode_cases,
        "answer": bench_stages.answer_cases,
        "train": bench_stages.train_cases,
    }
    for name in names:
        if name == "ops":
            with torch.inference_mode():
                yield from ops(full=full)
        elif name == "selector":
            with tempfile.TemporaryDirectory() as folder:
                yield from bench_stages.selector_cases(Path(folder))
        else:
            for label, model in models.items():
                yield from stages[name](model, label)


def main(argv: list[str] | None = None) -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default=",".join(BENCHES))
    parser.add_argument("--out", type=Path, default=Path("edgepers-bench"))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args(argv)
    names = args.only.split(",")
    if unknown := [name for name in names if name not in BENCHES]:
        raise SystemExit(f"--only {unknown[0]}: unknown; give some of {', '.join(BENCHES)} with commas between")
    tune_malloc()
    torch.set_num_threads(args.threads)
    measure(cases(names, full=args.full), args.out / "lines.jsonl")
    print(f"\n{write_report(args.out / 'lines.jsonl', args.out)}")


if __name__ == "__main__":
    main()
