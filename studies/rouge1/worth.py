r"""Whether a score tells what a set is worth.

Training without it, one after the other (leave-one-out), against its scores.

Run: python -m studies.rouge1.worth ../shared/data --data empathetic_dialogues --seeds 0

Of the ROUGE-1 study's stream, rounds and storage (PROTOCOL.md), on development rows. A set's worth is by how much the
loss of the held-out references, nats a token under the adapter, is higher without it than with all; both are trained
with the same recipe and seed. One JSON line a set in studies/rouge1/results/worth.jsonl; sets that are there are passed
over. `--table` prints rank correlations with 95 % intervals.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import describe
from benchmarks.lines import append_line, lines_there
from edgepers.assets import rehearsal_sets
from edgepers.config import Settings
from edgepers.evaluate.guard import pairs_of
from edgepers.model.heap import tune_malloc
from edgepers.model.language_model import LanguageModel
from edgepers.report.overview import spearman
from edgepers.select.index import Index
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import train
from studies.rouge1 import RESULTS
from studies.rouge1.cells import SHARE, STEPS, Cell, Work
from studies.rouge1.splits import CONFIRMATORY

SCORES = ("entropy", "domain_score", "dissimilarity", "characters", "loss")
DRAWS = 2000
Row = dict[str, Any]


def annotated_sets(work: Work, seed: int) -> list[Row]:
    """Of a stream that `random` has kept and the owner has answered: question, reference and scores of each."""
    with tempfile.TemporaryDirectory() as folder:
        cell = Cell(work.name, "random", "repeat", seed, SHARE)
        with work.streamed(cell, Path(folder)) as state:
            index = Index(len(next(iter(state.buffer)).embedding), state.buffer).kept()
            scores = {int(position): row for row, position in enumerate(index.position)}
            return [
                {
                    "id": kept.id,
                    "pair": (kept.question, kept.wanted),
                    **{name: int(getattr(index, name)[scores[kept.position]]) for name in SCORES[:4]},
                }
                for kept in state.buffer
                if kept.annotated
            ]


def held_out_loss(work: Work, pairs: Sequence[tuple[str, str]], seed: int) -> float:
    """Mean loss of the held-out references after training on these pairs."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = Recipe.of(Settings(steps=STEPS, seed=seed), on_cpu=work.llm.device.type == "cpu")
        train(work.llm, pairs, Path(folder), recipe, general=pairs_of(rehearsal_sets()))
        work.llm.use_adapter(Path(folder))
        asked = [(row["question"], wanted) for row, wanted in zip(work.measured, work.references, strict=True)]
        loss = float(np.mean(work.llm.losses(asked)))
        work.llm.use_adapter(None)
        return loss


def worths(work: Work, seed: int, there: set[str]) -> Iterator[Row]:
    """A row for each annotated set that is not there."""
    sets = annotated_sets(work, seed)
    missing = [one for one in sets if one["id"] not in there]
    if not missing:
        return
    work.llm.use_adapter(None)
    losses = dict(
        zip((one["id"] for one in sets), work.llm.losses([one["pair"] for one in sets], adapter=False), strict=True)
    )
    whole = held_out_loss(work, [one["pair"] for one in sets], seed)
    for one in missing:
        without = held_out_loss(work, [other["pair"] for other in sets if other is not one], seed)
        scores = {name: one[name] for name in SCORES[:4]}
        yield {
            "id": one["id"],
            **scores,
            "loss": losses[one["id"]],
            "sets": len(sets),
            "all_loss": whole,
            "worth": without - whole,
        }


def tied(run: Sequence[Row], name: str) -> float:
    """Rank correlation of a score with worth; 0 where one of them does not vary."""
    return spearman([line[name] for line in run], [line["worth"] for line in run]) or 0.0


def correlations(lines: Sequence[Row]) -> dict[str, tuple[float, float, float]]:
    """Rank correlation of worth with each score, and its 95 % interval.

    Mean over runs, sets drawn with replacement within each.
    """
    runs = [
        [line for line in lines if (line["data"], line["seed"]) == key]
        for key in dict.fromkeys((one["data"], one["seed"]) for one in lines)
    ]
    rng = np.random.default_rng(0)
    found = {}
    for name in SCORES if runs else ():
        mean = np.mean([tied(run, name) for run in runs])
        drawn = []
        for _ in range(DRAWS):
            chosen = [[run[i] for i in rng.integers(len(run), size=len(run))] for run in runs]
            drawn.append(np.mean([tied(run, name) for run in chosen]))
        low, high = np.percentile(drawn, [2.5, 97.5])
        found[name] = (float(mean), float(low), float(high))
    return found


def _told(of: tuple[float, float, float]) -> str:
    return f"{of[0]:+.2f} [{of[1]:+.2f}, {of[2]:+.2f}]"


def best(lines: Sequence[Row]) -> tuple[str, str] | None:
    """The score that correlates best, and its correlation as it is written; None without lines."""
    found = correlations(lines)
    name = max(found, key=lambda score: found[score][0], default=None)
    return (name, _told(found[name])) if name else None


def table(lines: Sequence[Row]) -> str:
    """`correlations`, in Markdown."""
    if not lines:
        return "untested."
    runs = len({(line["data"], line["seed"]) for line in lines})
    told = [f"| score | Spearman with worth [95 %], {runs} runs, {len(lines)} sets |", "| --- | ---: |"]
    return "\n".join([*told, *(f"| {name} | {_told(of)} |" for name, of in correlations(lines).items())])


def main() -> None:
    """Make what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of data sets")
    parser.add_argument("--data", default=",".join(CONFIRMATORY))
    parser.add_argument("--seeds", default="0")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "edgepers-rouge1",
        help="of the base model's answers",
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "worth.jsonl")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    lines = lines_there(args.out)
    if args.table:
        print(table(lines))
        return
    tune_malloc()
    llm, machine = LanguageModel.load(), describe()
    for data in args.data.split(","):
        work = Work(llm, args.folder, data, "development", args.cache)
        for seed in map(int, args.seeds.split(",")):
            there = {line["id"] for line in lines if (line["data"], line["seed"]) == (data, seed)}
            for row in worths(work, seed, there):
                append_line(args.out, {"data": data, "seed": seed, **row, **machine})
                print(data, seed, row, flush=True)


if __name__ == "__main__":
    main()
