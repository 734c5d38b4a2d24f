"""What edgepers costs: claim, command and number, each read from the lines that the command left."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS
from benchmarks.lines import lines_there, measured
from studies.rouge1.study import UNTESTED

__all__ = ["cost_claims"]

Row = dict[str, Any]
Claim = tuple[str, str, str]
TORCH = ("torch", "batched", "tiled", "padded")  # rivals of an op that are plain torch


def cost_claims(folder: Path = RESULTS) -> list[Claim]:
    """(claim with its target, command, number) of every benchmark; "untested" where it has left no lines."""
    return [
        _scoring(lines_there(folder / "ops.jsonl")),
        *_selecting(lines_there(folder / "selector.jsonl")),
        *(
            _training(shape, lines_there(folder / f"train_{shape}.jsonl"))
            for shape in ("packaged", "0.2B", "0.2B_1GB", "1B")
        ),
        _planning(lines_there(folder / "memory.jsonl")),
        _three_billion(lines_there(folder / "train_3b.jsonl")),
        *_answering(lines_there(folder / "answer.jsonl")),
        _metering(lines_there(folder / "meter.jsonl")),
        ("any of these on a GPU or a Jetson, and joules", "the same commands there", UNTESTED),
    ]


def _scoring(lines: list[Row]) -> Claim:
    cases = measured([line for line in lines if line.get("op") == "score_tokens" and not line["centred"]])
    by_group: dict[str, dict[str, float]] = {}
    for (group, name), case in cases.items():
        by_group.setdefault(group, {})[name] = case.p50
    times = [
        min(of[name] for name in TORCH if name in of) / of["ours"]
        for of in by_group.values()
        if "ours" in of and len(of) > 1
    ]
    number = f"{min(times):.1f} to {max(times):.1f} times, {len(times)} cases" if times else UNTESTED
    return (
        "`score_tokens` on a CPU against the best plain torch form (aim 8)",
        "python -m benchmarks.bench_ops --threads 1",
        number,
    )


def _selecting(lines: list[Row]) -> list[Claim]:
    growth = {
        line["kept"]: line["ratio_to_smallest"]
        for line in lines
        if line.get("case") == "growth" and line["name"] == "quality"
    }
    durable = {line["name"]: line["admission_to_fsync_p50"] for line in lines if line.get("case") == "durable"}
    ours = [durable[name] for name in ("quality", "random", "fifo") if name in durable]
    against = f"; bare SQLite {durable['bare SQLite fifo']:.1f}" if "bare SQLite fifo" in durable else ""
    command = "python -m benchmarks.bench_selector"
    return [
        (
            "a `quality` decision with the most sets kept against the fewest (aim 1.5)",
            command,
            f"{growth[max(growth)]:.2f} times, {min(growth)} to {max(growth):,} sets" if growth else UNTESTED,
        ),
        (
            "a durable admission, in fsyncs of the same disk and run (aim 5)",
            f"{command} --only durable",
            f"{min(ours):.1f} to {max(ours):.1f}{against}" if ours else UNTESTED,
        ),
    ]


def _training(name: str, lines: Sequence[Row]) -> Claim:
    shape, _, within = name.partition("_")
    mine = {line["name"]: line for line in lines if line["name"] in ("ours", "ours-within")}
    rivals = {line["name"]: line for line in lines if line["name"] not in mine}
    told = [
        (f"within {line['memory_bytes'] / 1e9:g} GB: " if "memory_bytes" in line else "")
        + ", ".join(
            f"{name} {line['tokens_per_second'] / rival['tokens_per_second']:.1f} times at"
            f" {line['peak_bytes'] / rival['peak_bytes']:.0%}"
            for name, rival in rivals.items()
        )
        for line in mine.values()
    ]
    of, command = f"{shape} shape on a CPU", f"python -m benchmarks.bench_train --shape {shape}"
    if within:
        of, command = f"{of}, also within {within}", f"{command} --memory {within}"
    claim = f"training, {of}: tokens/s and peak memory against each rival (aim 8 times PEFT, 2 times TRL, 60%)"
    return claim, command, "; ".join(told) or UNTESTED


def _planning(lines: Sequence[Row]) -> Claim:
    ratios = [line["planned/measured"] for line in lines if "planned/measured" in line]
    number = f"{min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} configurations" if ratios else UNTESTED
    return "planned against measured peak memory (aim .9 to 1.1)", "python -m benchmarks.bench_memory", number


def _three_billion(lines: Sequence[Row]) -> Claim:
    number = ", ".join(f"{line['peak_bytes'] / 1e9:.2f} GB above the libraries" for line in lines[-1:]) or UNTESTED
    return (
        "Llama-3.2-3B's shape trains sets of 512 tokens under a limit of 3.5 GB",
        "python -m benchmarks.bench_3b",
        number,
    )


def _answering(lines: Sequence[Row]) -> list[Claim]:
    claims = []
    for model in dict.fromkeys(line["model"] for line in lines):
        told = "; ".join(
            f"{line['batch']} prompt{'s' * (line['batch'] > 1)}, {line['targets']} {line['ours/base']:.2f} (PEFT"
            f" {line['peft/base']:.2f})"
            for line in lines
            if line["model"] == model
        )
        options = "" if model == "packaged" else " --model FOLDER"
        claims.append(
            (
                f"answering with an adapter, {model}: share of the base's tokens/s (aim .95)",
                f"python -m benchmarks.bench_answer{options}",
                told,
            )
        )
    return claims or [("answering with an adapter (aim .95)", "python -m benchmarks.bench_answer", UNTESTED)]


def _metering(lines: Sequence[Row]) -> Claim:
    number = ", ".join(f"{line['share_of_core']:.2%}" for line in lines[-1:]) or UNTESTED
    return "the energy meter's own share of a core (aim 1%)", "python -m benchmarks.bench_meter", number
