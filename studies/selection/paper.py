r"""The paper's own setting: 128 bins, every kept set annotated, its policies side by side: PROTOCOL.md.

Run: python -m studies.selection.paper --data ../shared/data [--model smollm2] [--names dolly,...] [--seeds 0]
     [--out FILE]

`--data` is a folder with the study's data sets (studies/rouge1/splits.py). One line a run; prints the table of
README.md from all lines of the file; what the file has a line of already is not done again.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import groupby, product
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.lines import append_line, lines_there
from edgepers.config import PAPER, Settings
from edgepers.evaluate.rouge import rouge1
from edgepers.model.language_model import LanguageModel
from edgepers.privacy.keyring import KeySource
from edgepers.rounds.learn import learn
from edgepers.select.policies import policy_named
from edgepers.select.selector import Selector
from edgepers.state.buffer import Buffer
from edgepers.streams import DialogueSet
from studies.rouge1.cells import remembered
from studies.rouge1.paper_layout import BIN_BYTES, in_places
from studies.rouge1.splits import CONFIRMATORY, FILE, rows_of
from studies.rouge1.study import table
from studies.selection.harness import offer_all, undone

POLICIES = ("quality", "random", "fifo", "kcenter", "typical")
BINS = 128
STREAM, MEASURED = 600, 100  # rows
# the paper's, but for its 100 epochs in batches of 128, which this model would take an hour for
RECIPE = PAPER | {"epochs": 4, "batch": 16}
TOKENS = 64  # of an answer
OUT = Path(__file__).parent / "results" / "paper.jsonl"
Row = dict[str, Any]


def kept_by(policy: str, llm: LanguageModel, stream: Sequence[Row], seed: int) -> list[tuple[str, str]]:
    """(question, reference) of what a policy keeps in the paper's bins, scored with the reference as its script does.

    `typical` compares topics of questions, as it does by default, the others the mean of hidden states.
    """
    with (
        tempfile.TemporaryDirectory() as made,
        Buffer(Path(made) / "state", BINS * BIN_BYTES, keys=KeySource(Path(made) / "key"), batch=1000) as buffer,
    ):
        selector = Selector(
            buffer,
            llm,
            policy=in_places(policy_named(policy), BINS),
            embedding="question" if policy == "typical" else "hidden",
            count_repeats=False,
            entropy="histogram",
            seed=seed,
        )
        offer_all(selector, [DialogueSet(row["question"], row["reference"]) for row in stream])
        return [(kept.question, kept.response) for kept in buffer]


def answered(llm: LanguageModel, rows: Sequence[Row]) -> list[float]:
    """ROUGE-1 F of the answer to each row's question, in points."""
    said = llm.answer([row["question"] for row in rows], max_new_tokens=TOKENS)
    return [100 * rouge1([row["reference"]], [one]) for row, one in zip(rows, said, strict=True)]


def measured(llm: LanguageModel, name: str, folder: Path, policies: Sequence[str], seed: int) -> Iterator[Row]:
    """A data set's runs, one after the other; the base model is the policy ""."""
    parts, rows = json.loads(FILE.read_text(encoding="utf-8"))[name]["parts"], rows_of(folder, name)
    order = np.random.default_rng(seed).permutation(len(parts["stream"]))[:STREAM]
    stream = [rows[parts["stream"][i]] for i in order]
    test = [rows[i] for i in parts["test"][:MEASURED]]
    for policy in policies:
        llm.use_adapter(None)
        began, line = time.perf_counter(), {"data": name, "policy": policy, "seed": seed}
        if not policy:
            yield line | {"rouge1": answered(llm, test)}
            continue
        pairs = kept_by(policy, llm, stream, seed)
        with tempfile.TemporaryDirectory() as made:
            result = learn(llm, Settings.make(RECIPE | {"seed": seed}), pairs, Path(made) / "0001", lambda _: None)
            llm.use_adapter(Path(made) / "0001")
            found = answered(llm, test)
            llm.use_adapter(None)
        work = {"kept": len(pairs), "steps": result.steps, "tokens": result.tokens}
        yield line | work | {"seconds": round(time.perf_counter() - began, 1), "rouge1": found}


def rows_of_table(lines: Sequence[Row]) -> list[list[str]]:
    """Data sets by policies: mean points over seeds."""
    found = []
    for name in dict.fromkeys(line["data"] for line in lines):
        cells = [name]
        for policy in ("", *POLICIES):
            some = [fmean(line["rouge1"]) for line in lines if (line["data"], line["policy"]) == (name, policy)]
            cells.append(f"{fmean(some):.1f}" if some else "untested")
        found.append(cells)
    return found


def main() -> None:
    """Run what is not in the file yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--names", default=",".join(CONFIRMATORY))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    wanted = product(args.names.split(","), map(int, args.seeds.split(",")), ("", *POLICIES))
    runs = ({"data": name, "seed": seed, "policy": policy} for name, seed, policy in wanted)
    left = undone(runs, args.model, args.out)
    if left:
        llm = LanguageModel.load(args.model)
        for (name, seed), some in groupby(left, itemgetter("data", "seed")):
            llm.encode = remembered(type(llm).encode.__get__(llm))  # type: ignore[method-assign, assignment]
            for line in measured(llm, name, args.data, [run["policy"] for run in some], seed):
                append_line(args.out, {"model": args.model} | line)
    print(table(["data", "base", *POLICIES], rows_of_table(lines_there(args.out))))


if __name__ == "__main__":
    main()
