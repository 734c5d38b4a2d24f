"""The state as one record: what `run --json` and `status --json` print."""

import importlib.metadata
import platform
from typing import Any

from edgepers.config import Settings
from edgepers.files import folder_bytes
from edgepers.select.buffer import Buffer
from edgepers.state import State

__all__ = ["report", "versions"]


def report(state: State, buffer: Buffer, settings: Settings) -> dict[str, Any]:
    """Counts since the state began. Laws: seen = admitted + dropped; buffer_sets = admitted - evicted - forgotten."""
    progress = buffer.progress
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
        "rounds": state.round_reports(progress.rounds),
        "published": progress.published or None,
        "rouge1_before": progress.rouge1_before,
        "energy_joules": None,  # no meter is read yet
        "preset": settings.preset or None,
        "policy": settings.policy,
        "seed": settings.seed,
    }


def versions() -> dict[str, str]:
    """Of everything that may change a result."""
    packages = ("edgepers", "torch", "transformers", "peft", "bitsandbytes", "rouge-score", "numpy")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}
