r"""Training against what people use now.

Real tokens a second and peak memory, each contender alone in a process of its own.

Run: python -m benchmarks.bench_train [--shape packaged|0.2B|1B|3B] [--steps 4] [--memory SIZE]
     [--only NAME,... | --ablation]
    [--models DIR] [--out FILE]

The work is the same for all: `steps` optimizer steps of 16 sets, LoRA of rank 8 on q, k, v, o over NF4 with double
quantization, dropout 0.05, AdamW, loss on response tokens. Lengths are token counts of real sets
(benchmarks/train_lengths.json: five data sets of ../shared/data in turn, the packaged tokenizer); tokens themselves are
random. Seconds are from the end of the first step to the end of the last; memory is the peak above what the process
held after importing torch, transformers, peft, bitsandbytes and trl. `ours` has memory to spare; `ours-within` has
`--memory`, in the configuration that `edgepers run --memory` picks. Rivals:

- peft: transformers' Trainer, PEFT and bitsandbytes as QLoRA's model cards have it: `prepare_model_for_kbit_training`,
  4 sets a device batch, 4 accumulated, `bf16=True`, padded to the longest by DataCollatorForSeq2Seq; gradient
  checkpointing off.
- peft-checkpointing: the same with it on, `prepare_model_for_kbit_training`'s default.
- trl: SFTTrainer with packing and its chunked loss, completion only, checkpointing off; trl-checkpointing: on (TRL's
  default).
- unsloth: its FastLanguageModel under the same SFTTrainer, with its own checkpointing, where it is installed.
"""

import argparse
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, describe, timed
from edgepers.assets import model_folder
from edgepers.config import Size, parse_size
from edgepers.model.heap import tune_malloc

BATCH, RANK, RATE = 16, 8, 2e-4
_LENGTHS = Path(__file__).parent / "train_lengths.json"
_MODELS = Path(tempfile.gettempdir()) / "edgepers-shapes"


def sets(count: int, vocabulary: int, most: int) -> list[tuple[list[int], int]]:
    """Token ids and the prompt's share of them, of `count` sets."""
    import torch

    by_source = list(json.loads(_LENGTHS.read_text(encoding="utf-8")).values())
    generator = torch.Generator().manual_seed(0)
    made = []
    for number in range(count):
        source = by_source[number % len(by_source)]
        prompt, response = source[number // len(by_source) % len(source)]
        prompt, response = min(prompt, most // 2), min(response, most // 2)
        ids = torch.randint(10, vocabulary, (prompt + response,), generator=generator).tolist()
        made.append((ids, prompt))
    return made


class Clock:
    """Seconds from the end of the first step to the end of the last, and losses."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.losses: list[float] = []

    def step(self, loss: float | None = None) -> None:
        """A step has ended."""
        self.ends.append(time.perf_counter())
        if loss is not None:
            self.losses.append(loss)


def ours(
    model: str, made: Sequence[tuple[list[int], int]], steps: int, clock: Clock, options: dict[str, Any]
) -> dict[str, Any]:
    """The trainer of this package, as it is or changed by an ablation."""
    from benchmarks.ablation import ABLATIONS
    from edgepers.model.language_model import Example, LanguageModel
    from edgepers.plan.fit import fit
    from edgepers.plan.shapes import ModelShapes
    from edgepers.train import trainer
    from edgepers.train.recipe import Recipe

    ablation = ABLATIONS[options.get("ablation", "ours")]
    recipe = Recipe(steps=steps, batch=BATCH, learning_rate=RATE, rank=RANK, **ablation.recipe)
    configuration, found = ablation.configuration, {}
    llm = LanguageModel.load(model)
    examples = [Example(tuple(ids), 1 if ablation.prompts else prompt, False) for ids, prompt in made]
    llm.example = lambda question, response, max_tokens: examples[int(question)]  # type: ignore[method-assign]
    pairs = [(str(number), "") for number in range(len(made))]
    if memory := options.get("memory"):
        fitted = fit(ModelShapes.like(llm), [(prompt, len(ids) - prompt) for ids, prompt in made], recipe, memory)
        configuration = fitted.configuration
        found = {"memory_bytes": memory, "configuration": str(configuration), "fits": fitted.fits}
    with tempfile.TemporaryDirectory() as folder, ablation.on():
        trainer.train(
            llm,
            pairs,
            Path(folder),
            recipe,
            configuration=configuration,
            on_step=lambda step: clock.step(step.loss),
        )
    return found


def _quantized(model: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return AutoModelForCausalLM.from_pretrained(
        model, quantization_config=nf4, dtype=torch.bfloat16, trust_remote_code=False
    )


def _lora() -> Any:
    from peft import LoraConfig

    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    return LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.05, target_modules=targets, task_type="CAUSAL_LM")


def _callback(clock: Clock) -> Any:
    from transformers import TrainerCallback

    class Told(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.step()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                clock.losses.append(logs["loss"])

    return Told()


def _arguments(folder: str, steps: int, checkpointing: bool, device_batch: int) -> dict[str, Any]:
    import torch

    return {
        "output_dir": folder,
        "max_steps": steps,
        "per_device_train_batch_size": device_batch,
        "gradient_accumulation_steps": BATCH // device_batch,
        "learning_rate": RATE,
        "lr_scheduler_type": "cosine",
        "bf16": True,
        "gradient_checkpointing": checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "optim": "adamw_torch",
        "logging_steps": 1,
        "use_cpu": not torch.cuda.is_available(),
        "save_strategy": "no",
        "report_to": [],
        "seed": 0,
        "disable_tqdm": True,
    }


def peft(
    model: str, made: Sequence[tuple[list[int], int]], steps: int, clock: Clock, options: dict[str, Any]
) -> dict[str, Any]:
    """Trainer + PEFT + bitsandbytes."""
    from peft import get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments

    checkpointing = options["checkpointing"]
    loaded = prepare_model_for_kbit_training(_quantized(model), use_gradient_checkpointing=checkpointing)
    rows = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": [-100] * prompt + ids[prompt:]}
        for ids, prompt in made
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=get_peft_model(loaded, _lora()),
            args=TrainingArguments(**_arguments(folder, steps, checkpointing, options.get("device_batch", 4))),
            train_dataset=rows,
            data_collator=DataCollatorForSeq2Seq(AutoTokenizer.from_pretrained(model, trust_remote_code=False)),
            callbacks=[_callback(clock)],
        )
        trainer.train()
    return {}


def trl(
    model: str, made: Sequence[tuple[list[int], int]], steps: int, clock: Clock, options: dict[str, Any]
) -> dict[str, Any]:
    """TRL's SFTTrainer with packing."""
    return _sft(
        _quantized(model), made, steps, clock, options | {"tokenizer": model, "peft_config": _lora(), "packing": True}
    )


def unsloth(
    model: str, made: Sequence[tuple[list[int], int]], steps: int, clock: Clock, options: dict[str, Any]
) -> dict[str, Any]:
    """Unsloth's model under TRL's SFTTrainer; it packs on a GPU alone."""
    import torch
    from unsloth import FastLanguageModel

    loaded, _ = FastLanguageModel.from_pretrained(
        model, max_seq_length=options["most"], dtype=torch.bfloat16, load_in_4bit=True, trust_remote_code=False
    )
    lora = _lora()
    adapted = FastLanguageModel.get_peft_model(
        loaded,
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=list(lora.target_modules),
        use_gradient_checkpointing="unsloth",
    )
    return _sft(
        adapted,
        made,
        steps,
        clock,
        options | {"tokenizer": model, "peft_config": None, "packing": torch.cuda.is_available()},
    )


def _sft(
    loaded: Any, made: Sequence[tuple[list[int], int]], steps: int, clock: Clock, options: dict[str, Any]
) -> dict[str, Any]:
    """Packing, a row of the device batch is as long as the longest set may be, filled with whole sets.

    Else 4 sets, padded.
    """
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rows = [{"input_ids": ids, "completion_mask": [0] * prompt + [1] * (len(ids) - prompt)} for ids, prompt in made]
    length = options["most"]
    a_step = sum(len(ids) for ids, _ in made) / (len(made) / BATCH)
    row_count = max(round(a_step / length), 1)  # packed rows a step, so that it sees as many tokens as 16 sets have
    with tempfile.TemporaryDirectory() as folder:
        if options["packing"]:
            arguments = _arguments(folder, steps, options["checkpointing"], 1) | {
                "gradient_accumulation_steps": row_count
            }
        else:
            arguments = _arguments(folder, steps, options["checkpointing"], 4)
        trainer = SFTTrainer(
            model=loaded,
            args=SFTConfig(
                **arguments,
                packing=options["packing"],
                max_length=length,
                completion_only_loss=True,
                dataset_num_proc=1,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(options["tokenizer"], trust_remote_code=False),
            peft_config=options["peft_config"],
            callbacks=[_callback(clock)],
        )
        seen = [len(trainer.train_dataset[i]["input_ids"]) for i in range(len(trainer.train_dataset))]
        trainer.train()
    return {"tokens_a_step": row_count * sum(seen) / len(seen)} if options["packing"] else {}


WITHIN = "ours-within"
CONTENDERS: dict[str, tuple[Callable[..., dict[str, Any]], dict[str, Any]]] = {
    "ours": (ours, {}),
    WITHIN: (ours, {}),
    "peft": (peft, {"checkpointing": False}),
    "peft-checkpointing": (peft, {"checkpointing": True}),
    "trl": (trl, {"checkpointing": False}),
    "trl-checkpointing": (trl, {"checkpointing": True}),
    "unsloth": (unsloth, {"checkpointing": True}),
}


def child(name: str, model: str, steps: int, memory: int) -> dict[str, Any]:
    """One contender's run in this process; `memory` is for `WITHIN`."""
    from benchmarks.ablation import ABLATIONS

    if name in ABLATIONS or name == WITHIN:
        tune_malloc()  # as the command line does first of all
    if name == "unsloth":
        import unsloth as _unsloth  # noqa: F401  # it changes the others, and wants to come first
    import bitsandbytes  # noqa: F401
    import peft as _peft  # noqa: F401
    import torch
    import transformers  # noqa: F401
    from transformers import AutoConfig

    from edgepers.meter.memory import MemoryMeter

    library = library_of(name)
    if library:
        import trl as _trl  # noqa: F401
    config = AutoConfig.from_pretrained(model or str(model_folder()), trust_remote_code=False)
    most = 256 if not model else 512
    made = sets(steps * BATCH, config.vocab_size, most)
    run, options = (ours, {"ablation": name}) if name in ABLATIONS else CONTENDERS[name]
    options |= {"memory": memory} if name == WITHIN else {}
    clock = Clock()
    meter = MemoryMeter(None)
    if library:
        options = options | {"most": most}
    found = run(model or str(model_folder()), made, steps, clock, options)
    seconds = (clock.ends[-1] - clock.ends[0]) / (steps - 1)
    tokens = found.get("tokens_a_step") or sum(len(ids) for ids, _ in made) / steps
    return {
        "name": name,
        "seconds_a_step": seconds,
        "tokens_a_step": tokens,
        "tokens_per_second": tokens / seconds,
        "peak_bytes": meter.peak_bytes(),
        "losses": clock.losses,
        "threads": torch.get_num_threads(),
        **{key: value for key, value in found.items() if key != "tokens_a_step"},
    }


def matrix_rate(threads: int) -> float:
    """bfloat16 FLOP/s of a product of 1,024 rows with a square of 2,048, at the 20th percentile of its times."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.randn(1024, 2048, dtype=torch.bfloat16), torch.randn(2048, 2048, dtype=torch.bfloat16)
    return 2 * 1024 * 2048 * 2048 / timed(lambda: a @ b.t())[0]


def library_of(name: str) -> str:
    """What a contender needs beside our own dependencies: "trl", "unsloth" (with trl) or ""."""
    return name.partition("-")[0] if name.startswith(("trl", "unsloth")) else ""


def _ablations() -> list[str]:
    from benchmarks.ablation import ABLATIONS

    return list(ABLATIONS)


def main() -> None:
    """Run all contenders in turn and print their ratios."""
    from benchmarks.shapes import SHAPES, make_model

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="0.2B", choices=("packaged", *SHAPES))
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--only", default=",".join(CONTENDERS))
    parser.add_argument("--ablation", action="store_true", help="ours with each idea off, instead of rivals")
    parser.add_argument(
        "--memory", type=parse_size, default=Size(0), help="of ours-within, which is left out without it"
    )
    parser.add_argument("--models", type=Path, default=_MODELS)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=RESULTS / "train.jsonl")
    parser.add_argument("--child")
    given = parser.parse_args()
    model = "" if given.shape == "packaged" else str(make_model(given.shape, given.models / given.shape))
    if given.child:
        print(json.dumps(child(given.child, model, given.steps, int(given.memory))))
        return
    rate = matrix_rate(given.threads)
    machine = describe() | {"shape": given.shape, "steps": given.steps, "bf16_flop_s": rate}
    print(
        f"{given.shape}, {given.steps} steps of {BATCH} sets; bfloat16 product {rate / 1e9:.0f} GFLOP/s on"
        f" {given.threads} threads"
    )
    rows: dict[str, dict[str, Any]] = {}
    named = [name for name in given.only.split(",") if name != WITHIN or given.memory]
    for name in _ablations() if given.ablation else named:
        if (library := library_of(name)) and importlib.util.find_spec(library) is None:
            print(f"  {name:20} not installed (pip install {library})")
            continue
        command = [
            sys.executable,
            "-m",
            "benchmarks.bench_train",
            "--child",
            name,
            "--shape",
            given.shape,
            "--steps",
            str(given.steps),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": str(given.threads), "TOKENIZERS_PARALLELISM": "false"}
        command += ["--models", str(given.models), "--memory", f"{int(given.memory)}B"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            print(f"  {name:20} failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
            continue
        rows[name] = row = json.loads(done.stdout.splitlines()[-1])
        print(
            f"  {name:20} {row['tokens_per_second']:8.1f} tokens/s  {row['seconds_a_step']:7.2f} s/step  "
            f"{row['peak_bytes'] / 1e6:8.0f} MB  losses {row['losses'][0]:.3f} .. {row['losses'][-1]:.3f}",
            flush=True,
        )
        given.out.parent.mkdir(parents=True, exist_ok=True)
        with given.out.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(machine | row) + "\n")
    for mine, (name, row) in itertools.product(("ours", WITHIN), rows.items()):
        if mine in rows and name not in ("ours", WITHIN):
            faster = rows[mine]["tokens_per_second"] / row["tokens_per_second"]
            print(
                f"  {mine} / {name:20} {faster:.2f} times the tokens/s,"
                f" {rows[mine]['peak_bytes'] / row['peak_bytes']:.0%} of the memory"
            )


if __name__ == "__main__":
    main()
