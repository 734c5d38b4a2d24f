r"""Defaults of a round, chosen on development splits.

What adapters say of held-out questions, and what they forget, round after round.

Run: python -m benchmarks.rounds ../shared/data --data dolly --arms now,fewer --out benchmarks/results/rounds.jsonl

A round brings 16 corrections, of which some are held in reserve, as in `edgepers run`; variations are written by the
base model. Each
row is one adapter: its ROUGE-1 and reference loss on development questions, its loss on the sets of every earlier round
(a row of the forgetting matrix), on the reserve, and the rise of perplexity on general sets; for the packaged sample,
also how many questions about its owner it answers with the fact. Which sets are drawn depends on the seed alone, so
rows of different arms can be compared in pairs. Rows that are there are not made again. No test split is read
(benchmarks/splits.py).
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.harness import RESULTS, describe
from benchmarks.lines import append_line, lines_there
from benchmarks.splits import dialogue_sets
from benchmarks.warm_start import started_from
from edgepers.assets import general_sets, rehearsal_sets, sample_facts, sample_stream
from edgepers.cli.demo import knows
from edgepers.evaluate.guard import pairs_of
from edgepers.evaluate.reserve import split_reserve
from edgepers.evaluate.rouge import rouge1
from edgepers.evaluate.verdict import perplexity_rise
from edgepers.model.heap import tune_malloc
from edgepers.model.language_model import LanguageModel
from edgepers.state.records import SPOKEN, KeptSet
from edgepers.streams import DialogueSet
from edgepers.synth.synthesize import synthesize
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import train

DATA = ("sample", "dolly", "empathetic_dialogues", "medical_questiondoctors", "memorybank_users")
A_ROUND, ROUNDS, HELD_OUT = 16, 5, 100
NOW = Recipe(steps=100, rehearsal=4)
ARMS: dict[str, Recipe] = {
    "now": NOW,
    "steps 25": replace(NOW, steps=25),
    "epochs 4": replace(NOW, steps=None, epochs=4),
    "epochs 8": replace(NOW, steps=None, epochs=8),
    "lr 5e-4": replace(NOW, learning_rate=5e-4),
    "lr 1e-3": replace(NOW, learning_rate=1e-3),
    "lr 1e-3 epochs 8": replace(NOW, learning_rate=1e-3, steps=None, epochs=8),
    "all-linear": replace(NOW, targets="all-linear"),
    "epochs 16": replace(NOW, steps=None, epochs=16),
    "all-linear epochs 4": replace(NOW, targets="all-linear", steps=None, epochs=4),
    "all-linear epochs 8": replace(NOW, targets="all-linear", steps=None, epochs=8),
    "all-linear epochs 16": replace(NOW, targets="all-linear", steps=None, epochs=16),
    "all-linear lr 5e-4": replace(NOW, targets="all-linear", learning_rate=5e-4),
    "all-linear lr 1e-3": replace(NOW, targets="all-linear", learning_rate=1e-3),
    "all-linear lr 1e-3 epochs 8": replace(NOW, targets="all-linear", learning_rate=1e-3, steps=None, epochs=8),
    "warm": NOW,
    "warm steps 25": replace(NOW, steps=25),
    "warm all-linear steps 25": replace(NOW, steps=25, targets="all-linear"),
    "rank 32 epochs 8": replace(NOW, rank=32, steps=None, epochs=8),
    "top 4": replace(NOW, top=4),
    "top 4 steps 160": replace(NOW, top=4, steps=160),
}
Pair = tuple[str, str]


def kept_sets(sets: Sequence[DialogueSet], seed: int) -> list[KeptSet]:
    """As annotated sets lie in the buffer; what no round looks at is empty."""
    order = np.random.default_rng(seed).permutation(len(sets))[: A_ROUND * ROUNDS]
    nothing = np.zeros(0, np.int8)
    return [
        KeptSet(
            position, str(i), sets[i].question, "", sets[i].reference, "", 0.0, 0.0, nothing, SPOKEN, 1, "corrected"
        )
        for position, i in enumerate(order)
    ]


def losses(llm: LanguageModel, pairs: Sequence[Pair], *, adapter: bool = True) -> float | None:
    """Mean over sets of nats a response token."""
    return float(np.mean(llm.losses(pairs, adapter=adapter))) if pairs else None


class Rounds:
    """What one data set and seed brings, and how adapters are measured on it.

    Args:
        llm: the base model.
        data: folder of data sets.
        name: of one.
        seed: which sets are drawn, and of training.
    """

    def __init__(self, llm: LanguageModel, data: Path, name: str, seed: int) -> None:
        self.llm, self.seed = llm, seed
        file = sample_stream() if name == "sample" else data / f"{name}.jsonl"
        kept = kept_sets(dialogue_sets(file, "stream"), seed)
        self.rounds = [kept[i * A_ROUND : (i + 1) * A_ROUND] for i in range(ROUNDS)]
        held = {one.position for one in split_reserve(kept)[1]}
        self.reserve = [[(one.question, one.wanted) for one in sets if one.position in held] for sets in self.rounds]
        self.own = [[one for one in sets if one.position not in held] for sets in self.rounds]
        written = [synthesize(llm, own, generations=3, vary="question", seed=seed, round_number=1) for own in self.own]
        self.varied = [[pair for variations in of for pair in variations.pairs] for of in written]
        held_out = dialogue_sets(file, "development")[:HELD_OUT]
        self.held_out = [(one.question, one.reference or "") for one in held_out]
        facts = {
            fact["id"]: fact["keywords"]
            for fact in map(json.loads, sample_facts().read_text(encoding="utf-8").splitlines())
        }
        self.facts = {
            i: facts[one.id.split("-")[1]] for i, one in enumerate(held_out) if one.id and one.id.startswith("emily-")
        }
        self.general = pairs_of(general_sets())
        self.rehearsed = pairs_of(rehearsal_sets())
        self.general_base = llm.losses(self.general, adapter=False)

    def pairs(self, number: int) -> list[Pair]:
        """What round `number`, from 1, trains on."""
        own = [(one.question, one.wanted) for sets in self.own[:number] for one in sets]
        return own + [pair for varied in self.varied[:number] for pair in varied]

    def measured(self, number: int, *, adapter: bool = True) -> dict[str, Any]:
        """Of the adapter that is on, after round `number`."""
        llm = self.llm
        answers = llm.answer([question for question, _ in self.held_out], adapter=adapter)
        reserve = [pair for of in self.reserve[:number] for pair in of]
        reserved = llm.answer([question for question, _ in reserve], adapter=adapter) if reserve else []
        general = llm.losses(self.general, adapter=adapter)
        return {
            "rouge1": round(rouge1([reference for _, reference in self.held_out], answers), 5),
            "answer_words": round(float(np.mean([len(answer.split()) for answer in answers])), 1),
            **(
                {
                    "facts": sum(knows(answers[i], words) for i, words in self.facts.items()),
                    "facts_asked": len(self.facts),
                }
                if self.facts
                else {}
            ),
            "loss": losses(llm, self.held_out, adapter=adapter),
            "own_losses": [
                losses(llm, [(one.question, one.wanted) for one in own], adapter=adapter) for own in self.own
            ],
            "reserve_losses": [round(loss, 4) for loss in llm.losses(reserve, adapter=adapter)] if reserve else [],
            "reserve_rouge1": [
                round(rouge1([wanted], [said]), 4) for (_, wanted), said in zip(reserve, reserved, strict=True)
            ],
            "general_rise": round(perplexity_rise(self.general_base, general), 4),
        }

    def rows(self, recipe: Recipe, numbers: Sequence[int], *, warm: bool = False) -> Iterator[dict[str, Any]]:
        """A fresh adapter for each of these rounds, or, `warm`, one that goes on from that of the round before."""
        before: dict[str, Tensor] = {}
        for number in range(1, max(numbers) + 1) if warm else numbers:
            pairs = self.pairs(number)
            with tempfile.TemporaryDirectory() as folder, started_from(self.llm, before):
                began, worked = time.perf_counter(), time.process_time()
                done = train(self.llm, pairs, Path(folder), replace(recipe, seed=self.seed), general=self.rehearsed)
                before = load_file(Path(folder) / "adapter_model.safetensors") if warm else {}
                if number not in numbers:
                    continue
                seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - worked
                self.llm.use_adapter(Path(folder))
                found = self.measured(number)
                self.llm.use_adapter(None)
            facts = {
                "sets": sum(map(len, self.own[:number])),
                "pairs": len(pairs),
                "steps": done.steps,
                "tokens": done.tokens,
            }
            yield {
                "round": number,
                **facts,
                "seconds": round(seconds, 1),
                "cpu_seconds": round(cpu_seconds, 1),
                **found,
            }


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """ROUGE-1 points above the base model by arm and round, pooled over data sets and seeds, with what was paid."""
    base = {(row["data"], row["seed"]): row for row in rows if row["arm"] == "base"}
    lines = [f"{'arm':24} round  rows  ROUGE-1   loss   general  seconds"]
    for arm, number in sorted({(row["arm"], row["round"]) for row in rows if row["arm"] != "base"}):
        mine = [row for row in rows if (row["arm"], row["round"]) == (arm, number)]
        gains = [100 * (row["rouge1"] - base[row["data"], row["seed"]]["rouge1"]) for row in mine]
        drops = [row["loss"] - base[row["data"], row["seed"]]["loss"] for row in mine]
        rise, seconds = (np.mean([row[name] for row in mine]) for name in ("general_rise", "seconds"))
        lines.append(
            f"{arm:24} {number:5} {len(mine):5} {np.mean(gains):+8.2f} {np.mean(drops):+6.3f} {100 * rise:+7.1f} %"
            f" {seconds:7.1f}"
            f"   {' '.join(f'{gain:+.1f}' for gain in gains)}"
        )
    return "\n".join(lines)


def forgetting(rows: Sequence[dict[str, Any]], arm: str) -> str:
    """What the sets of each round cost after each adapter.

    Nats a token against the base model, means over data sets and seeds.
    """
    base = {(row["data"], row["seed"]): row["own_losses"] for row in rows if row["arm"] == "base"}
    lines = [f"{arm:24} sets of round {'  '.join(f'{number:6}' for number in range(1, ROUNDS + 1))}"]
    for number in sorted({row["round"] for row in rows if row["arm"] == arm}):
        mine = [row for row in rows if (row["arm"], row["round"]) == (arm, number)]
        change = np.mean([np.subtract(row["own_losses"], base[row["data"], row["seed"]]) for row in mine], axis=0)
        lines.append(
            f"{'after round':30} {number:5} {'  '.join(f'{one:+6.2f}' for one in change)}   ({len(mine)} adapters)"
        )
    return "\n".join(lines)


def main() -> None:
    """Make the rows that are not there yet, and print the summary and what is forgotten."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of data sets")
    parser.add_argument("--data", default=",".join(DATA))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--rounds", default="1,3,5")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--model")
    parser.add_argument("--out", type=Path, default=RESULTS / "rounds.jsonl")
    args = parser.parse_args()
    tune_malloc()
    there = {(row["data"], row["seed"], row["arm"], row["round"]) for row in lines_there(args.out)}
    machine = describe()
    llm = LanguageModel.load(args.model)
    for name in args.data.split(","):
        for seed in map(int, args.seeds.split(",")):
            wanted = {
                arm: [n for n in map(int, args.rounds.split(",")) if (name, seed, arm, n) not in there]
                for arm in args.arms.split(",")
            }
            if not any(wanted.values()):
                continue
            work = Rounds(llm, args.folder, name, seed)
            if (name, seed, "base", 0) not in there:
                keep(
                    args.out,
                    machine,
                    {"data": name, "seed": seed, "arm": "base", "round": 0, **work.measured(ROUNDS, adapter=False)},
                )
            for arm, numbers in wanted.items():
                for row in work.rows(ARMS[arm], numbers, warm=arm.startswith("warm")):
                    keep(args.out, machine, {"data": name, "seed": seed, "arm": arm, **row})
    rows = lines_there(args.out)
    print(summary(rows))
    for arm in args.arms.split(","):
        print(forgetting(rows, arm))


def keep(out: Path, machine: dict[str, Any], row: dict[str, Any]) -> None:
    """Append one line, and say it."""
    clean = {k: round(v, 5) if isinstance(v, float) and math.isfinite(v) else v for k, v in row.items()}
    append_line(out, {"name": "rounds", **clean, **machine})
    print({k: v for k, v in clean.items() if not isinstance(v, list)}, flush=True)


if __name__ == "__main__":
    main()
