r"""Answering with an adapter against answering without one: tokens a second, in one process, in turn.

Run: python -m benchmarks.bench_answer [--model FOLDER] [--batch 1,16] [--out FILE]

Greedy answers of exactly `TOKENS` tokens. The contenders take `ROUNDS` turns, and of each the `FASTEST` count: what
else a machine does only slows them, by more than what is looked for. `peft` is the same adapter as PEFT computes it.
"""

import argparse
import json
import statistics
import tempfile
import time
import unittest.mock
from pathlib import Path

import torch

from benchmarks.harness import RESULTS, describe
from edgepers.model.heap import tune_malloc
from edgepers.model.language_model import LanguageModel
from edgepers.model.lean_adapter import lean_adapter

TOKENS, WORDS, ROUNDS, FASTEST = 48, 16, 15, 5


def main() -> None:
    """Time, print and keep a line for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="default: the packaged model")
    parser.add_argument("--batch", default="1,16")
    parser.add_argument("--targets", default="attention,all-linear")
    parser.add_argument("--out", type=Path, default=RESULTS / "answer.jsonl")
    args = parser.parse_args()
    tune_malloc()
    llm = LanguageModel.load(args.model)
    llm.stop_ids = [llm.vocabulary]  # which no answer holds: all are `TOKENS` long
    generator = torch.Generator().manual_seed(0)
    rows = []
    for targets in args.targets.split(","):
        with tempfile.TemporaryDirectory() as folder:
            peft = llm.start_lora(8, 0, targets)
            for name, weight in peft.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(weight, std=1e-3, generator=generator)
            peft.save_pretrained(folder)
            for batch in map(int, args.batch.split(",")):
                questions = [
                    " ".join(f"{word}" for word in torch.randint(100, 999, (WORDS,), generator=generator).tolist())
                    for _ in range(batch)
                ]
                rows.append({"targets": targets, "batch": batch, **turns(llm, Path(folder), questions)})
                print(rows[-1], flush=True)
    with args.out.open("a", encoding="utf-8") as out:
        for row in rows:
            model = "packaged" if args.model is None else Path(args.model).name
            out.write(
                json.dumps({"name": "answer", "model": model, "parameters": llm.parameter_count, **row, **describe()})
                + "\n"
            )


def turns(llm: LanguageModel, adapter: Path, questions: list[str]) -> dict[str, float]:
    """Tokens a second of each contender, and each adapter's share of the base model's.

    By the clock, and by processor time.
    """
    taken: dict[str, list[tuple[float, float]]] = {"base": [], "ours": [], "peft": []}
    for turn in range(ROUNDS + 1):
        for name, own in taken.items():
            with unittest.mock.patch(
                "edgepers.model.weights.lean_adapter", lean_adapter if name == "ours" else lambda _: None
            ):
                llm.use_adapter(None if name == "base" else adapter)
            llm.answer(questions, max_new_tokens=2)
            began = time.perf_counter(), time.process_time()
            llm.answer(questions, max_new_tokens=TOKENS)
            if turn:  # the first warms up
                own.append((time.perf_counter() - began[0], time.process_time() - began[1]))
            llm.use_adapter(None)
    rates: dict[str, float] = {}
    shares: dict[str, float] = {}
    for of, kind in enumerate(("", ", processor time")):
        least = {name: statistics.mean(sorted(times[of] for times in own)[:FASTEST]) for name, own in taken.items()}
        rates |= {
            f"{name}_tokens_s{kind}": round(len(questions) * TOKENS / seconds, 1) for name, seconds in least.items()
        }
        shares |= {f"{name}/base{kind}": round(least["base"] / least[name], 3) for name in ("ours", "peft")}
    return rates | shares


if __name__ == "__main__":
    main()
