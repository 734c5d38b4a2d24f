"""The state as one record: what `run --json` and `status --json` print."""

import importlib.metadata
import platform
from typing import TYPE_CHECKING, Any

from edgepers.config import Settings
from edgepers.files import folder_bytes
from edgepers.meter.ledger import read_pending, total_energy
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State

if TYPE_CHECKING:  # `status` starts without torch
    from edgepers.evaluate.verdict import Verdict
    from edgepers.train.trainer import TrainResult

__all__ = ["report", "round_report", "versions"]


def report(state: State, buffer: Buffer, settings: Settings) -> dict[str, Any]:
    """Counts since the state began. Laws: seen = admitted + dropped; buffer_sets = admitted - evicted - forgotten."""
    progress = buffer.progress
    rounds = state.round_reports(progress.rounds)
    return {
        "seen": progress.position,
        "invalid": progress.invalid,
        "admitted": progress.admitted,
        "evicted": progress.evicted,
        "forgotten": progress.forgotten,
        "dropped": progress.position - progress.admitted,
        "dropped_by_reason": dict(sorted(progress.dropped.items())),
        "buffer_sets": len(buffer),
        "buffer_bytes": buffer.disk_bytes(),
        "buffer_peak_bytes": progress.peak_bytes,
        "storage_budget_bytes": int(settings.storage),
        "state_bytes": folder_bytes(state.folder),
        "annotated": progress.annotated,
        "synthesized": progress.synthesized,
        "refused": progress.refused,
        "rounds": rounds,
        "published": progress.published or None,
        "rouge1_before": progress.rouge1_before,
        **total_energy(rounds, read_pending(state.pending_energy, progress.rounds + 1)),
        "preset": settings.preset,
        "policy": settings.policy,
        "seed": settings.seed,
    }


def round_report(
    *,
    number: int,
    seen: int,
    trained_on: list[int],
    recurring: list[int],
    start: str,
    inherited: list[int],
    new_sets: int,
    contradicted: int,
    lora: dict[str, Any],
    reserve_sets: int,
    rejected: list[int],
    variations: int,
    result: "TrainResult | None",
    verdict: "Verdict",
    peak_memory_bytes: int,
    rouge1: float | None,
    tested_on: str,
    energy: dict[str, Any],
) -> dict[str, Any]:
    """What one round did; `result` is None where there was nothing to train on.

    `trained_on` are positions of annotated sets, `recurring` of sets that ask again what these ask, `inherited` of all
    that `start`, the adapter that training went on from, had learned ("": none). `new_sets` counts the pairs that were
    learned anew, the rest was only reviewed. `rejected` are positions of sets of whose response is known only that it
    was wrong; they are no `annotated_sets`, and where anything was trained it was made less likely.

    `energy` holds everything since the last round, selection too.
    `train_ended` is None, or where and why training ended before its last step; `train_steps` are those behind the
    adapter.
    """
    return {
        "round": number,
        "seen": seen,
        "annotated_sets": len(trained_on) + reserve_sets,
        "train_sets": len(trained_on),
        "trained_on": trained_on,
        "recurring": recurring,
        "start": start or None,
        "inherited": inherited,
        "new_sets": new_sets,
        "contradicted": contradicted,
        "lora": lora,
        "reserve_sets": reserve_sets,
        "rejected": rejected,
        "rejected_sets": len(rejected),
        "variations": variations,
        "train_steps": result.steps if result else 0,
        "train_tokens": result.tokens if result else 0,
        "train_seconds": round(result.seconds, 3) if result else 0.0,
        "train_paused_seconds": round(result.paused_seconds, 3) if result else 0.0,
        "train_ended": str(result.ended) if result and result.ended else None,
        "train_cut": result.cut if result else 0,
        "train_loss_first": result.first_loss if result else None,
        "train_loss_last": result.last_loss if result else None,
        "peak_memory_bytes": peak_memory_bytes,
        "guard_loss_before": verdict.loss_before,
        "guard_loss_after": verdict.loss_after,
        "guard_perplexity_rise": verdict.perplexity_rise,
        "rouge1": rouge1,
        "tested_on": tested_on,
        "adapter_scale": verdict.scale,
        "recalled": verdict.recalled,
        "repeated": verdict.repeated,
        "repeated_general": verdict.repeated_general,
        "repeated_others": verdict.repeated_others,
        "published": verdict.publish,
        "reason": verdict.reason,
        "adapter": f"{number:04}" if result else None,
        **energy,
    }


def versions() -> dict[str, str]:
    """Return the versions of everything that may change a result."""
    packages = ("edgepers", "torch", "transformers", "peft", "bitsandbytes", "numpy")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}
