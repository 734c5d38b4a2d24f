r"""The ops against what else there is. Run: python -m benchmarks.bench_ops [--threads 1] [--quick] [--out FILE] [--plot PNG].

Lengths are token counts of question + "\n" + reference in ../shared/data (DOLLY), cut at 512 as the encoder does;
benchmarks/lengths.json holds the same 512 counts for a machine without the data. `ours` looks for dead rows and guards
float32's range, its rivals do not.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import rivals
from benchmarks.harness import RESULTS, Case, device, measure
from edgepers import ops
from edgepers.ops.dispatch import backend_of
from edgepers.ops.dissimilarity_from_sums.torch_kernel import dissimilarity_torch
from edgepers.ops.nearest_distance.torch_kernel import nearest_torch
from edgepers.ops.score_tokens.torch_kernel import scores_torch

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


def nearest_cases(width: int, batch: int, count: int) -> Iterator[Case]:
    """`nearest_distance` and its rivals."""
    torch.manual_seed(0)
    unit = partial(torch.nn.functional.normalize, dim=1)
    embeddings, centers = (
        unit(torch.randn(batch, width, device=device())),
        unit(torch.randn(count, width, device=device())),
    )
    truth = 1 - (embeddings.double() @ centers.double().T).amax(1).cpu()
    runs: dict[str, Callable[[], Any]] = {
        "ours": partial(ops.nearest_distance, embeddings, centers),
        "torch": partial(nearest_torch, embeddings, centers),
        "torch.cdist": lambda: torch.cdist(embeddings, centers).amin(1).square() / 2,
    }
    try:
        from sklearn.metrics import pairwise_distances_argmin_min
    except ImportError:
        print("scikit-learn is not installed: left out")
    else:
        host = embeddings.cpu().numpy(), centers.cpu().numpy()
        runs["scikit-learn"] = lambda: torch.from_numpy(pairwise_distances_argmin_min(*host)[1]).square() / 2
    try:
        import faiss
    except ImportError:
        print("faiss is not installed: left out")
    else:
        faiss.omp_set_num_threads(torch.get_num_threads())
        index = faiss.IndexFlatIP(width)
        index.add(centers.cpu().numpy())
        asked = embeddings.cpu().numpy()
        runs["faiss"] = lambda: 1 - torch.from_numpy(index.search(asked, 1)[0][:, 0])
    for which, run in runs.items():
        yield Case(
            group=f"nearest_distance d={width} B={batch} N={count}",
            name=which,
            run=run,
            truth=truth,
            slack=1e-5,
            bytes_moved=embeddings.nbytes + centers.nbytes + 4 * batch,
            facts={
                "op": "nearest_distance",
                "width": width,
                "batch": batch,
                "count": count,
                "gflop": 2e-9 * width * batch * count,
            },
        )


def dissimilarity_cases(width: int, batch: int) -> Iterator[Case]:
    """`dissimilarity_from_sums` and the torch form."""
    torch.manual_seed(0)
    embeddings = torch.nn.functional.normalize(torch.randn(batch, width, device=device()), dim=1)
    args: tuple[Tensor, ...] = (
        embeddings,
        torch.randint(0, 18, (batch,), device=device()),
        torch.randn(18, width, device=device()) * 30,
        torch.full((18,), 900, device=device()),
    )
    truth = dissimilarity_torch(*args).cpu().double()
    for which, run in {
        "ours": partial(ops.dissimilarity_from_sums, *args),
        "torch": partial(dissimilarity_torch, *args),
    }.items():
        yield Case(
            group=f"dissimilarity_from_sums d={width} B={batch}",
            name=which,
            run=run,
            truth=truth,
            slack=1e-6,
            bytes_moved=embeddings.nbytes + 4 * batch,
            facts={"op": "dissimilarity_from_sums", "width": width, "batch": batch},
        )


def cases(*, quick: bool) -> Iterator[Case]:
    """All cases; `quick` only the smallest of each op, so that a test can run them."""
    counts = lengths()
    if quick:
        yield from score_cases(counts, 256, 1, torch.float32, centred=False, compiled=False)
        yield from nearest_cases(64, 4, 100)
        yield from dissimilarity_cases(64, 4)
        return
    for dtype in (torch.float32, torch.bfloat16):
        for width in WIDTHS:
            for batch in BATCHES:
                yield from score_cases(counts, width, batch, dtype, centred=False, compiled=True)
            yield from score_cases(counts, width, 64, dtype, centred=True, compiled=True)
    for batch in (1, 64, 512):
        yield from nearest_cases(512, batch, 10_000)
    for batch in (64, 5000):
        yield from dissimilarity_cases(512, batch)


def main() -> None:
    """Measure, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "ops.jsonl")
    parser.add_argument("--plot", type=Path, help="picture of all results in --out")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with torch.inference_mode():
        measure(cases(quick=args.quick), args.out)
    if args.plot:
        from benchmarks.plot_ops import plot

        plot(args.out, args.plot)


if __name__ == "__main__":
    main()
