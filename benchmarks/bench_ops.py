r"""The ops against what else there is.

Run: python -m benchmarks.bench_ops [--threads 1] [--quick] [--only similarity] [--out FILE] [--plot PNG]

Lengths are token counts of question + "\n" + reference in ../shared/data (DOLLY), cut at 512 as the encoder does;
benchmarks/lengths.json holds the same 512 counts for a machine without the data. `ours` looks for dead rows and guards
float32's range, its rivals do not.
"""

import argparse
import importlib.util
import itertools
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import rivals
from benchmarks.harness import RESULTS, Case, device, measure
from edgepers import ops
from edgepers.ops.dispatch import backend_of
from edgepers.ops.scores.torch_kernel import scores_torch
from edgepers.ops.similarity.numpy_kernel import similarity_numpy
from edgepers.ops.similarity.op import int8_similarity, similarity_backend

WIDTHS = (256, 2048, 3072)
BATCHES = (1, 8, 64, 512)
LENGTHS = Path(__file__).parent / "lengths.json"
DATA = Path(__file__).parents[2] / "shared" / "data" / "dolly.jsonl"
_PADDED_BYTES = 1 << 30  # a padded batch above this is left out: it would not fit beside the others
_SLACK = {torch.float32: 1e-5, torch.bfloat16: 3e-2}  # rivals form Gram matrices in the input dtype


def lengths() -> list[int]:
    """Token counts of 512 dialogue sets."""
    if not DATA.exists():
        return list(json.loads(LENGTHS.read_text(encoding="utf-8")))
    from transformers import AutoTokenizer

    from edgepers.assets import model_folder

    tokenizer = AutoTokenizer.from_pretrained(model_folder(), trust_remote_code=False)
    rows = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()[:512]]
    texts = [f"{row['question']}\n{row['reference']}" for row in rows]
    return [min(512, len(ids)) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def score_cases(
    counts: list[int], width: int, batch: int, dtype: torch.dtype, *, centred: bool, compiled: bool
) -> Iterator[Case]:
    """`score_tokens` and its rivals on one batch."""
    torch.manual_seed(0)
    offsets = torch.tensor([0, *counts[:batch]]).cumsum(0)
    hidden = (torch.randn(int(offsets[-1]), width) + torch.randn(width) / 2).to(device(), dtype)
    center = torch.randn(width, device=device()) / 2 if centred else None
    truth = scores_torch(
        hidden, offsets, "windowed", center
    )  # held to float64 by tests/ops; float64 itself would take minutes here
    plan = rivals.windows_of(offsets)
    runs = {
        "ours": partial(ops.score_tokens, hidden, offsets, center=center),
        "torch": partial(scores_torch, hidden, offsets, "windowed", center),
        "batched": partial(rivals.batched, hidden, offsets, center, plan),
        "tiled": partial(rivals.tiled, hidden, offsets, center, plan),
    }
    longest = (max(counts[:batch]) + 15) // 16 * 16
    if batch * longest * width * hidden.element_size() <= _PADDED_BYTES:
        runs["padded"] = partial(rivals.padded, hidden, offsets, center)
    if compiled:
        torch.compiler.reset()
        one = partial(torch.compile(rivals.batched, dynamic=False), hidden, offsets, center, plan)
        try:
            one()
            runs["compiled"] = one
        except RuntimeError as error:  # of torch.compile itself: torch 2.13 on two threads of a CPU
            print(f"torch.compile left out: {type(error).__name__}")
    name = str(dtype).removeprefix("torch.")
    for which, run in runs.items():
        yield Case(
            group=f"score_tokens {name} d={width} B={batch}{' centred' if centred else ''}",
            name=which,
            run=run,
            truth=[value.cpu().double() for value in truth],
            slack=_SLACK[dtype] if which not in {"ours", "torch"} else 1e-6,
            bytes_moved=hidden.nbytes + 4 * batch * (width + 1),
            facts={
                "op": "score_tokens",
                "backend": backend_of("score_tokens", device()) if which == "ours" else "torch",
                "dtype": name,
                "width": width,
                "batch": batch,
                "rows": len(hidden),
                "centred": centred,
            },
        )


def similarity_cases(width: int, batch: int, count: int) -> Iterator[Case]:
    """`int8_similarity` and its rivals; "NumPy, float32 kept" has its rows as floats already, four times the memory."""
    rng = np.random.default_rng(0)
    embeddings, others = (rng.integers(-127, 128, (rows, width)).astype(np.int8) for rows in (batch, count))
    asked, kept = embeddings.astype(np.float32), others.astype(np.float32)
    truth = torch.from_numpy(asked.astype(np.float64) @ kept.astype(np.float64).T)
    runs: dict[str, Callable[[], Any]] = {
        "ours": lambda: int8_similarity(embeddings, others),
        "NumPy": lambda: similarity_numpy(embeddings, others),
        "NumPy, float32 kept": lambda: asked @ kept.T,
    }
    if batch > 1:  # torch._int_mm wants more rows
        first, second = torch.from_numpy(embeddings), torch.from_numpy(others)
        runs["torch._int_mm"] = lambda: torch._int_mm(first, second.T).numpy()
    for which, run in runs.items():
        yield Case(
            group=f"int8_similarity d={width} B={batch} N={count}",
            name=which,
            run=lambda run=run: torch.from_numpy(run()),  # type: ignore[misc]
            truth=truth,
            slack=0,
            bytes_moved=embeddings.nbytes + others.nbytes + 4 * batch * count,
            facts={
                "op": "int8_similarity",
                "backend": similarity_backend() if which == "ours" else "numpy",
                "width": width,
                "batch": batch,
                "count": count,
                "gop": 2e-9 * width * batch * count,
            },
        )


def nearest_cases(width: int, batch: int, count: int) -> Iterator[Case]:
    """The greatest product of each newcomer with all that is kept, which k-center asks for, beside faiss and torch.

    faiss is given its rows beforehand: as int8 ("SQ8"), and as floats, four times the memory.
    """
    rng = np.random.default_rng(0)
    embeddings, others = (rng.integers(-127, 128, (rows, width)).astype(np.int8) for rows in (batch, count))
    asked, kept = embeddings.astype(np.float32), others.astype(np.float32)
    rows = torch.from_numpy(kept)
    runs: dict[str, Callable[[], Any]] = {
        "ours": lambda: int8_similarity(embeddings, others).max(1),
        "torch, float32 kept": lambda: torch.amax(torch.from_numpy(asked) @ rows.T, 1).numpy(),
    }
    if importlib.util.find_spec("faiss"):
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        flat = faiss.IndexFlatIP(width)
        direct = faiss.ScalarQuantizer.QT_8bit_direct_signed
        quantized = faiss.IndexScalarQuantizer(width, direct, faiss.METRIC_INNER_PRODUCT)
        for index in (flat, quantized):
            index.train(kept)
            index.add(kept)
        runs["faiss, float32 kept"] = lambda: flat.search(asked, 1)[0][:, 0]
        runs["faiss, SQ8"] = lambda: quantized.search(asked, 1)[0][:, 0]
    for which, run in runs.items():
        yield Case(
            group=f"nearest d={width} B={batch} N={count}",
            name=which,
            run=lambda run=run: torch.from_numpy(run()),  # type: ignore[misc]
            truth=torch.from_numpy((asked.astype(np.float64) @ kept.astype(np.float64).T).max(1)),
            slack=0,
            bytes_moved=embeddings.nbytes + others.nbytes,
            facts={"op": "nearest", "width": width, "batch": batch, "count": count},
        )


def cases(*, quick: bool) -> Iterator[Case]:
    """All cases; `quick` only the smallest of each op, so that a test can run them."""
    counts = lengths()
    if quick:
        yield from score_cases(counts, 256, 1, torch.float32, centred=False, compiled=False)
        yield from similarity_cases(64, 32, 100)
        yield from nearest_cases(64, 2, 100)
        return
    for dtype in (torch.float32, torch.bfloat16):
        for width in WIDTHS:
            for batch in BATCHES:
                yield from score_cases(counts, width, batch, dtype, centred=False, compiled=True)
            yield from score_cases(counts, width, 64, dtype, centred=True, compiled=True)
    yield from all_similarity_cases()


def all_similarity_cases() -> Iterator[Case]:
    """One set, a micro-batch and a block of pairs against ten thousand kept ones."""
    for width, batch in itertools.product((256, 512), (1, 16, 256)):
        yield from similarity_cases(width, batch, 10_000)
    for batch, count in itertools.product((1, 16), (100, 1_000, 10_000)):
        yield from nearest_cases(128, batch, count)


def main() -> None:
    """Measure, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["similarity"], help="leave the scores out")
    parser.add_argument("--out", type=Path, default=RESULTS / "ops.jsonl")
    parser.add_argument("--plot", type=Path, help="picture of all results in --out")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with torch.inference_mode():
        measure(all_similarity_cases() if args.only else cases(quick=args.quick), args.out)
    if args.plot:
        from benchmarks.plot_ops import plot

        plot(args.out, args.plot)


if __name__ == "__main__":
    main()
