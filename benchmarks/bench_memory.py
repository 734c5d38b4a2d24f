r"""Planned against measured peak memory of training.

Real lengths, real rounds' parts, each configuration alone in a process of its own.

Run: python -m benchmarks.bench_memory [--only 1B] [--replan] [--models DIR] [--out FILE]

Each row loads a model and trains `steps` steps of 16 sets as long as those of five data sets
(benchmarks/train_lengths.json), with four general sets beside them, as a round does. Measured is the peak above what
the process held after importing its libraries, loading included. Planned is what `edgepers.plan.fit` counts from the
model's config.json and these lengths. The constants in edgepers/plan/memory.py were chosen by the rows marked
`chosen_by`; the others are what they are tested on. `--replan` plans the rows that are there again, with the constants
as they are now, beside what was measured then.
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
from edgepers.model.heap import tune_malloc
from edgepers.train.layout import MemoryLayout
from edgepers.train.recipe import Recipe

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
    {"shape": "0.5B", "steps": 4, "chosen_by": True},
    {"shape": "0.5B", "micro_batch_tokens": 512, "recomputed_blocks": 12, "steps": 3},
    {"shape": "1B", "recomputed_blocks": 16, "steps": 2},
    {"shape": "1B", "micro_batch_tokens": 512, "steps": 2, "lean_heap": True},
]


def work_of(given: dict[str, Any], vocabulary: int) -> tuple[list[tuple[list[int], int]], Recipe, MemoryLayout]:
    """Sets (ids, prompt tokens), recipe and configuration of a row."""
    steps = given.get("steps", _STEPS)
    made = sets(steps * 16, vocabulary, 256 if given["shape"] == "packaged" else 512)
    shape = MemoryLayout(
        **{
            k: given[k]
            for k in ("micro_batch_tokens", "recomputed_blocks", "resident_bytes", "lean_heap")
            if k in given
        }
    )
    recipe = Recipe(
        steps=steps,
        rank=given.get("rank", 8),
        targets=given.get("targets", "attention"),
        top=given.get("top", 0),
        rehearsal=4,
    )
    return made, recipe, shape


def measured(given: dict[str, Any]) -> dict[str, Any]:
    """Peaks of one row, in this process."""
    tune_malloc()
    from edgepers.meter.memory import MemoryMeter
    from edgepers.model.loading import import_libraries

    import_libraries()
    from transformers import AutoConfig

    from edgepers.evaluate.guard import pairs_of
    from edgepers.model.language_model import Example, LanguageModel
    from edgepers.train import trainer

    model = given["model"]
    made, recipe, shape = work_of(given, AutoConfig.from_pretrained(model, trust_remote_code=False).vocab_size)
    general = pairs_of(rehearsal_sets())
    meter = MemoryMeter()
    llm = LanguageModel.load(model)
    loaded = meter.peak_bytes()
    own = llm.example
    llm.example = lambda question, response, max_tokens: (  # type: ignore[method-assign]
        own(question, response, max_tokens)
        if response
        else Example(tuple(made[int(question)][0]), made[int(question)][1], False)
    )
    pairs = [(str(number), "") for number in range(len(made))]
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(llm, pairs, Path(folder), recipe, general=general, configuration=shape)
    return {"measured": meter.peak_bytes(), "loading": loaded}


def planned(given: dict[str, Any]) -> dict[str, Any]:
    """What is planned for a row, beside what it measured."""
    from transformers import AutoConfig

    from edgepers.plan.fit import heaviest
    from edgepers.plan.memory import OPENED, loading_bytes, step_bytes, training_parts
    from edgepers.plan.shapes import ModelShapes

    config = AutoConfig.from_pretrained(given["model"], trust_remote_code=False)
    made, recipe, shape = work_of(given, config.vocab_size)
    lengths = [(prompt, len(ids) - prompt) for ids, prompt in made]
    plan = ModelShapes(config, bits=4, on_cpu=True)
    step, adapter = step_bytes(
        plan, heaviest(lengths, shape.micro_batch_tokens, recipe.batch + recipe.rehearsal), recipe, shape
    )
    kept = sum(map(sum, lengths)) * plan.hidden_size * 2 if recipe.top else 0
    resident = min(shape.resident_bytes, sum(layer.weight.numel() * 2 for layer in plan.quantized_layers))
    parts = {
        **plan.weight_bytes(),
        **training_parts(
            step, adapter, plan.dtype.itemsize, lean_heap=shape.lean_heap, kept_states=kept, resident_bytes=resident
        ),
    }
    total = max(sum(parts.values()), sum(plan.weight_bytes().values()) + OPENED + loading_bytes(plan))
    return {"planned": total, "planned/measured": round(total / given["measured"], 3), "parts": parts}


def main() -> None:
    """Run the configurations, print and keep a line of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a shape")
    parser.add_argument("--models", type=Path, default=_MODELS, help="where models of the shapes are made")
    parser.add_argument("--out", type=Path, default=RESULTS / "memory.jsonl")
    parser.add_argument("--replan", action="store_true", help="measure nothing")
    parser.add_argument("--child", default="")
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measured(json.loads(args.child))))
        return
    had = [json.loads(line) for line in args.out.read_text(encoding="utf-8").splitlines()] if args.replan else []
    rows = had[:1] or [{"name": "machine", **describe()}]
    for given in CONFIGURATIONS:
        if args.only not in ("", given["shape"]):
            continue
        model = (
            str(model_folder())
            if given["shape"] == "packaged"
            else str(make_model(given["shape"], args.models / given["shape"]))
        )
        found = next((row for row in had if is_of(row, given)), None)
        if found is None and args.replan:
            continue
        if found is None:
            command = [
                sys.executable,
                "-m",
                "benchmarks.bench_memory",
                "--child",
                json.dumps({**given, "model": model}),
            ]
            found = json.loads(
                subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
            )
        peaks = {name: found[name] for name in ("measured", "loading")}
        rows.append({"name": "memory", **given, **peaks, **planned({**given, **peaks, "model": model})})
        print({k: v for k, v in rows[-1].items() if k not in ("name", "parts")}, flush=True)
        if not args.replan:
            write(args.out, rows)
    write(args.out, rows)


def is_of(row: dict[str, Any], given: dict[str, Any]) -> bool:
    """Whether a line is of a configuration, whatever chose the constants."""
    keys = {key for configuration in CONFIGURATIONS for key in configuration} - {"chosen_by"}
    return row["name"] == "memory" and all(row.get(key) == given.get(key) for key in keys)


def write(out: Path, rows: list[dict[str, Any]]) -> None:
    """A line each."""
    out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
