r"""Planned against measured peak memory of training: real lengths, real rounds' parts, each configuration alone in a process of its own.

Run: python -m benchmarks.bench_memory [--only 1B] [--models DIR] [--out FILE]

Each row loads a model and trains `steps` steps of 16 sets as long as those of five data sets (benchmarks/train_lengths.json), with four
general sets beside them, as a round does. Measured is the peak above what the process held after importing its libraries, loading
included. Planned is what `edgepers.train.fit` counts from the model's config.json and these lengths. The constants in
edgepers/train/memory.py were chosen by the rows marked `chosen_by`; the others are what they are tested on.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.bench_train import sets
from benchmarks.harness import RESULTS, describe
from benchmarks.shapes import make_model
from edgepers.assets import model_folder, rehearsal_sets
from edgepers.heap import settle_heap

_MODELS = Path(tempfile.gettempdir()) / "edgepers-shapes"
_STEPS = 8
CONFIGURATIONS: list[dict[str, Any]] = [
    {"shape": "packaged", "chosen_by": True},
    {"shape": "packaged", "micro_batch_tokens": 256},
    {"shape": "packaged", "targets": "all-linear", "rank": 32},
    {"shape": "packaged", "lean_heap": True, "chosen_by": True},
    {"shape": "0.2B", "chosen_by": True},
    {"shape": "0.2B", "lean_heap": True, "chosen_by": True},
    {"shape": "0.2B", "micro_batch_tokens": 256, "recomputed_blocks": 12, "lean_heap": True},
    {"shape": "0.2B", "targets": "all-linear", "rank": 16, "resident_bytes": 300_000_000},
    {"shape": "0.2B", "top": 4},
    {"shape": "0.36B", "micro_batch_tokens": 512, "steps": 4, "lean_heap": True},
    {"shape": "0.36B", "recomputed_blocks": 32, "steps": 4},
    {"shape": "0.5B", "steps": 4},
    {"shape": "0.5B", "micro_batch_tokens": 512, "recomputed_blocks": 12, "steps": 3},
    {"shape": "1B", "recomputed_blocks": 16, "steps": 2},
    {"shape": "1B", "micro_batch_tokens": 512, "steps": 2, "lean_heap": True},
]


def measured(given: dict[str, Any]) -> dict[str, Any]:
    """One row, in this process."""
    settle_heap()
    from edgepers.loading import import_libraries
    from edgepers.meter.memory import MemoryMeter

    import_libraries()
    from transformers import AutoConfig

    from edgepers.learning import pairs_of
    from edgepers.llm import Example, LanguageModel
    from edgepers.train import trainer
    from edgepers.train.configuration import Configuration
    from edgepers.train.fit import heaviest
    from edgepers.train.memory import OPENED, loading_bytes, step_bytes, training_parts
    from edgepers.weightless import Weightless

    steps, model = given.get("steps", _STEPS), given["model"]
    config = AutoConfig.from_pretrained(model)
    made = sets(steps * 16, config.vocab_size, 256 if given["shape"] == "packaged" else 512)
    general = pairs_of(rehearsal_sets())
    shape = Configuration(**{k: given[k] for k in ("micro_batch_tokens", "recomputed_blocks", "resident_bytes", "lean_heap") if k in given})
    recipe = trainer.Recipe(
        steps=steps, rank=given.get("rank", 8), targets=given.get("targets", "attention"), top=given.get("top", 0), rehearsal=4
    )
    meter = MemoryMeter()
    llm = LanguageModel.load(model)
    loaded = meter.peak_bytes()
    own = llm.example
    llm.example = lambda q, r, most: (  # type: ignore[method-assign]
        Example(tuple(made[int(q)][0]), made[int(q)][1], False) if not r else own(q, r, most)
    )
    pairs = [(str(number), "") for number in range(len(made))]
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(llm, pairs, Path(folder), recipe, general=general, configuration=shape)
    peak = meter.peak_bytes()

    lengths = [(prompt, len(ids) - prompt) for ids, prompt in made]
    plan = Weightless(config, bits=4, on_cpu=True)
    step, adapter = step_bytes(plan, heaviest(lengths, shape.micro_batch_tokens, recipe.batch + recipe.rehearsal), recipe, shape)
    kept = sum(map(sum, lengths)) * plan.hidden_size * 2 if recipe.top else 0
    resident = min(shape.resident_bytes, sum(layer.weight.numel() * 2 for layer in plan.quantized_layers))
    parts = {
        **plan.weight_bytes(),
        **training_parts(step, adapter, plan.dtype.itemsize, lean_heap=shape.lean_heap, kept_states=kept, resident_bytes=resident),
    }
    planned = max(sum(parts.values()), sum(plan.weight_bytes().values()) + OPENED + loading_bytes(plan))
    return {"measured": peak, "loading": loaded, "planned": planned, "planned/measured": round(planned / peak, 3), "parts": parts}


def main() -> None:
    """Run the configurations, print and keep a line of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a shape")
    parser.add_argument("--models", type=Path, default=_MODELS, help="where models of the shapes are made")
    parser.add_argument("--out", type=Path, default=RESULTS / "memory.jsonl")
    parser.add_argument("--child", default="")
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measured(json.loads(args.child))))
        return
    rows = []
    for given in CONFIGURATIONS:
        if args.only in ("", given["shape"]):
            model = str(model_folder()) if given["shape"] == "packaged" else str(make_model(given["shape"], args.models / given["shape"]))
            command = [sys.executable, "-m", "benchmarks.bench_memory", "--child", json.dumps({**given, "model": model})]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append({"name": "memory", **given, **json.loads(done.stdout.splitlines()[-1])})
            print({k: v for k, v in rows[-1].items() if k not in ("name", "parts")}, flush=True)
    args.out.write_text("".join(json.dumps(row) + "\n" for row in [{"name": "machine", **describe()}, *rows]), encoding="utf-8")


if __name__ == "__main__":
    main()
