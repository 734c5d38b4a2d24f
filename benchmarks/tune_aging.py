r"""How fast stored scores should fade under `aging`: tuned on half of the data sets, shown on the other half.

Run: python -m benchmarks.tune_aging ../shared/data [--limit 1500] [--cache DIR]

Freshness is admissions in the last quarter of the stream as a share of even ones (at most 1), worth the mean percentile
of EOE, DSS and IDD of what is kept, above 0.5 and as a share of what `quality` reaches; a half-life is judged by their
product, means over three seeds.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import RESULTS, describe
from benchmarks.policies import DATA, SHARES, TUNED_ON, percentiles
from benchmarks.replay import replay
from benchmarks.scored import scored_stream
from edgepers.model.language_model import LanguageModel
from edgepers.select.index import Index
from edgepers.select.policy import Kept, Newcomer, Policy, Room
from edgepers.select.rules import aging, quality
from edgepers.state.records import KeptSet

HELD_OUT = ("alpaca", "empathetic_dialogues", "medical_questiondoctors")
SEEDS = (0, 1, 2)
PER_KEPT = (4, 8, 16, 32, 64, 128)
FIXED = (500, 1000, 2000, 4000, 8000, 16000)  # in positions, however many are kept


def candidates() -> dict[str, Policy]:
    """By name, `quality` first."""

    def fixed(half_life: float, newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
        return aging(newcomer, kept, room, half_life / max(len(kept.position), 1))

    found: dict[str, Policy] = {"quality": quality}
    found |= {f"{value} x kept": partial(aging, per_kept=value) for value in PER_KEPT}
    return found | {f"{value}": partial(fixed, value) for value in FIXED}


def judge(name: str, stream: Sequence[KeptSet], share: float) -> Iterator[dict[str, Any]]:
    """One row a candidate."""
    whole = Index(len(stream[0].embedding), stream).kept()
    rank = np.mean([percentiles(scores) for scores in (whole.entropy, whole.domain_score, whole.dissimilarity)], axis=0)
    quarter, budget_bytes = len(stream) // 4, share * sum(one.stored_bytes for one in stream)
    reached = 0.0
    for half_life, policy in candidates().items():
        runs = [replay(stream, budget_bytes, policy, seed) for seed in SEEDS]
        fresh = float(
            np.mean([run.admitted[-quarter:].sum() / (run.admitted.sum() * quarter / len(stream)) for run in runs])
        )
        value = float(np.mean([rank[run.kept].mean() for run in runs])) - 0.5
        reached = reached or value
        row = {"data": name, "tuned_on": name in TUNED_ON, "sets": len(stream), "share": share, "half_life": half_life}
        yield row | {
            "last_quarter_of_even": fresh,
            "rank_of_quality": value / reached,
            "product": min(fresh, 1) * value / reached,
        }


def main() -> None:
    """Judge all candidates, write lines, print means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=1500)
    parser.add_argument("--cache", type=Path, help="keep the scored streams here; they hold the data's texts")
    parser.add_argument("--out", type=Path, default=RESULTS / "aging.jsonl", help="written anew")
    args = parser.parse_args()
    torch.set_num_threads(1)
    machine, command = describe(), f"python -m benchmarks.tune_aging {args.folder} --limit {args.limit}"
    llm: list[LanguageModel] = []
    rows = []
    for name in DATA:
        if name in (*TUNED_ON, *HELD_OUT):
            stream = scored_stream(args.folder / f"{name}.jsonl", args.limit, args.cache, llm)
            rows += [row for share in SHARES for row in judge(name, stream, share)]
    args.out.write_text(
        "".join(json.dumps(row | {"command": command, **machine}) + "\n" for row in rows), encoding="utf-8"
    )
    for tuned in (True, False):
        print("tuned on" if tuned else "held out", "(last quarter of even, rank of quality's, product, least product)")
        for half_life in candidates():
            some = [row for row in rows if row["half_life"] == half_life and row["tuned_on"] == tuned]
            means = [
                float(np.mean([row[key] for row in some]))
                for key in ("last_quarter_of_even", "rank_of_quality", "product")
            ]
            print(f"  {half_life:12}", *(f"{value:.3f}" for value in (*means, min(row["product"] for row in some))))


if __name__ == "__main__":
    main()
