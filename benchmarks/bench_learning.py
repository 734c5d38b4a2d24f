r"""From corrections to a published adapter, against what people use now, at equal facts and equal general perplexity.

Run: python -m benchmarks.bench_learning [--model smollm2] [--corrections 16] [--only NAME,...] [--out FILE]

Emily's first 200 sets; the owner corrects the ones that `--ask coverage` asks about. Every contender starts from the
corrections and a model on disk, alone in a process of its own, and ends with an adapter in PEFT's form:

- ours: a round as `edgepers run` does it by default, in this process: kept questions that ask the same again, training,
  the guard.
- peft_TARGETS_RATE_EPOCHS_GENERAL: transformers' Trainer, PEFT and bitsandbytes' NF4 as QLoRA's model cards have them
  (4 sets a device batch, bf16, cosine, a tenth of warm-up, padded to the longest), for every recipe of a small grid;
  GENERAL sets of the same general talk as ours rehearses are mixed in.

Seconds are those from the loaded model to the adapter on disk; memory is the peak above the imported libraries. Then,
not timed, one process measures all adapters alike: facts that the corrections were about and that are known when asked
in new words (three wordings each), questions about what was never told that are answered with one of her facts, and
general perplexity over the base model's. The rival's best recipe is the fastest that knows as many facts as ours at no
more than 1 % more general perplexity; where none does, the one that knows most is shown, and that is said.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, describe
from edgepers.annotate.coverage import coverage_order
from edgepers.assets import general_sets, rehearsal_sets, sample_stream
from edgepers.evaluate.guard import Asked, guard, pairs_of

Pair = tuple[str, str]
SEEN = 200
GRID = [
    (targets, rate, epochs, general)
    for targets, general in (("attention", 0), ("all-linear", 0), ("all-linear", 16))
    for rate in (1e-3, 2e-3)
    for epochs in (6, 12)
]


def corrections(count: int) -> tuple[list[Pair], list[str], set[str]]:
    """What the owner corrects, the questions kept beside, and the facts that the corrections are about."""
    rows = [json.loads(line) for line in sample_stream().read_text(encoding="utf-8").splitlines()][:SEEN]
    chosen = list(islice(coverage_order([row["question"] for row in rows]), count))
    facts = {rows[i]["id"].split("-")[1] for i in chosen if rows[i]["id"].startswith("emily-")}
    others = [row["question"] for i, row in enumerate(rows) if i not in set(chosen)]
    return [(rows[i]["question"], rows[i]["reference"]) for i in chosen], others, facts


def ours(model: str, pairs: Sequence[Pair], others: Sequence[str], folder: Path) -> dict[str, Any]:
    """What a round does after annotating."""
    from edgepers.config import Settings
    from edgepers.meter.memory import MemoryMeter
    from edgepers.model.language_model import LanguageModel
    from edgepers.rounds.learn import learn
    from edgepers.rounds.untold import untold_asked
    from edgepers.synth.recurring import asked_again

    settings, meter = Settings(model=model), MemoryMeter(None)
    llm = LanguageModel.load(model)
    began = time.perf_counter()
    again = [(others[i], wanted) for i, wanted in asked_again(llm, pairs, others, settings.recurring)]
    learned = [*pairs, *again]
    result = learn(llm, settings, learned, folder, lambda _: None)
    asked = Asked(told=learned, untold=untold_asked([question for question, _ in learned]))
    verdict = guard(llm, settings, asked, None, folder)
    return {
        "seconds": time.perf_counter() - began,
        "peak_bytes": meter.peak_bytes(),
        "train_seconds": result.seconds,
        "asked_again": len(again),
        "steps": result.steps,
        "published": verdict.publish,
        "reason": verdict.reason,
    }


def peft(model: str, pairs: Sequence[Pair], folder: Path, recipe: tuple[str, float, int, int]) -> dict[str, Any]:
    """The same corrections by transformers' Trainer."""
    import torch
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, Trainer, TrainingArguments
    from transformers import DataCollatorForSeq2Seq as Collator

    from edgepers.meter.memory import MemoryMeter

    targets, rate, epochs, general = recipe
    meter = MemoryMeter(None)
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    loaded = AutoModelForCausalLM.from_pretrained(
        model, quantization_config=nf4, dtype=torch.bfloat16, trust_remote_code=False
    )
    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    began = time.perf_counter()
    rows = []
    for question, response in [*pairs, *pairs_of(rehearsal_sets())[:general]]:
        talk = [{"role": "user", "content": question}, {"role": "assistant", "content": response}]
        prompt = tokenizer.apply_chat_template(talk[:1], add_generation_prompt=True, return_dict=False)
        whole = tokenizer.apply_chat_template(talk, return_dict=False)
        labels = [-100] * len(prompt) + whole[len(prompt) :]
        rows.append({"input_ids": whole, "attention_mask": [1] * len(whole), "labels": labels})
    attention = ["q_proj", "k_proj", "v_proj", "o_proj"]
    adapted = get_peft_model(
        prepare_model_for_kbit_training(loaded, use_gradient_checkpointing=False),
        LoraConfig(
            r=8,
            lora_alpha=16,
            lora_dropout=0.05,
            target_modules=attention if targets == "attention" else targets,
            task_type="CAUSAL_LM",
        ),
    )
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        num_train_epochs=epochs,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        learning_rate=rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(round(0.1 * epochs * len(rows) / 8), 1),
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
    )
    Trainer(model=adapted, args=arguments, train_dataset=rows, data_collator=Collator(tokenizer)).train()
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    return {"seconds": time.perf_counter() - began, "peak_bytes": meter.peak_bytes()}


def measure(model: str, adapters: Sequence[Path], told: set[str]) -> list[dict[str, Any]]:
    """Facts known in new words, questions answered with a fact that is not theirs, and general perplexity."""
    from edgepers.evaluate.verdict import perplexity_rise
    from edgepers.model.language_model import LanguageModel
    from studies.owners.owners import load_owner

    owner, llm = load_owner("emily"), LanguageModel.load(model)
    facts = [fact for fact in owner.facts if fact.id in told]
    general = pairs_of(general_sets())
    base = llm.losses(general)
    found = []
    for adapter in adapters:
        llm.use_adapter(adapter)
        answers = llm.answer([question for fact in facts for question in fact.held_out], max_new_tokens=24)
        each = iter(answers)
        known = [sum(fact.known(next(each)) for _ in fact.held_out) / len(fact.held_out) for fact in facts]
        untold = llm.answer(owner.never_told, max_new_tokens=24)
        leaked = sum(map(owner.gives_away, untold))
        found.append(
            {
                "facts_told": len(facts),
                "facts_known": round(sum(known), 2),
                "untold_answered_with_a_fact": leaked,
                "untold_asked": len(untold),
                "perplexity_rise": perplexity_rise(base, llm.losses(general)),
            }
        )
    return found


def equal_and_fastest(lines: Sequence[dict[str, Any]], mine: dict[str, Any]) -> dict[str, Any] | None:
    """The fastest rival that knows as many facts as ours at no more than 1 % more perplexity; None: there is none."""
    equal = [
        line
        for line in lines
        if line["facts_known"] >= mine["facts_known"] and line["perplexity_rise"] <= mine["perplexity_rise"] + 0.01
    ]
    return min(equal, key=lambda line: float(line["seconds"]), default=None)


def summary(lines: Sequence[dict[str, Any]]) -> str:
    """What the run says, in one sentence."""
    mine = next(line for line in lines if line["name"] == "ours")
    rivals = [line for line in lines if line["name"] != "ours"]
    if not rivals:
        return "no rival was run"
    if (best := equal_and_fastest(rivals, mine)) is not None:
        return (
            f"{best['name']} is as good as ours: {best['seconds'] / mine['seconds']:.2f} times the seconds,"
            f" ours takes {mine['peak_bytes'] / best['peak_bytes']:.2f} of its memory"
        )
    most = max(rivals, key=lambda line: (line["facts_known"], -line["seconds"]))
    return (
        f"no recipe of the grid is as good as ours ({mine['facts_known']} facts); {most['name']} knows most,"
        f" {most['facts_known']}, in {most['seconds'] / mine['seconds']:.2f} times the seconds"
    )


def _child(name: str, model: str, count: int, folder: Path) -> dict[str, Any]:
    import bitsandbytes  # noqa: F401
    import peft as _peft  # noqa: F401
    import torch
    import transformers  # noqa: F401

    pairs, others, _ = corrections(count)
    if name == "ours":
        found = ours(model, pairs, others, folder)
    else:
        _, targets, rate, epochs, general = name.split("_")
        found = peft(model, pairs, folder, (targets, float(rate), int(epochs), int(general)))
    return {"name": name, "corrections": len(pairs), "threads": torch.get_num_threads(), **found}


def main() -> None:
    """Run what is asked for, and append a line for each contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--corrections", type=int, default=16)
    parser.add_argument("--only", help="names, with commas between")
    parser.add_argument("--out", type=Path, default=RESULTS / "learning.jsonl")
    parser.add_argument("--child", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        name, folder = args.child
        print(json.dumps(_child(name, args.model, args.corrections, Path(folder))))
        return
    from edgepers.model.loading import folder_of, resolve

    names = args.only.split(",") if args.only else ["ours", *(f"peft_{t}_{r:g}_{e}_{g}" for t, r, e, g in GRID)]
    lines = []
    sixteen = folder_of(resolve(args.model), 16)
    with tempfile.TemporaryDirectory() as made:
        for name in names:
            folder = Path(made) / name
            folder.mkdir()
            model = args.model if name == "ours" else sixteen
            command = [sys.executable, "-m", "benchmarks.bench_learning", "--model", model]
            command += ["--corrections", str(args.corrections), "--child", name, str(folder)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            lines.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{name}: {lines[-1]['seconds']:.0f} s", file=sys.stderr)
        _, _, told = corrections(args.corrections)
        measured = measure(args.model, [Path(made) / name for name in names], told)
    lines = [describe() | line | more for line, more in zip(lines, measured, strict=True)]
    with args.out.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    for line in lines:
        print(
            f"{line['name']:28} {line['seconds']:7.1f} s {line['peak_bytes'] / 1e9:5.2f} GB"
            f" {line['facts_known']:5.2f} of {line['facts_told']} facts,"
            f" {line['untold_answered_with_a_fact']} of {line['untold_asked']} leaked,"
            f" perplexity {100 * line['perplexity_rise']:+.1f} %"
        )
    if "ours" in names:
        print(summary(lines))


if __name__ == "__main__":
    main()
