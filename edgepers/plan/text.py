"""A plan as people read it."""

from typing import Any

from edgepers.config import format_size
from edgepers.plan.plan import TEXT_BYTES
from edgepers.text import table
from edgepers.train.layout import MemoryLayout

__all__ = ["plan_text", "verdict"]


def verdict(found: dict[str, Any]) -> str:
    """One line: whether it fits, and if not, the largest part and the cure."""
    total, left = format_size(found["total_bytes"]), format_size(found["memory_bytes"])
    if found["fits"]:
        return f"fits: about {total} of {left} ({found['memory_from']})"
    part = format_size(found["parts_bytes"][found["largest"]])
    return (
        f"does not fit: about {total} of {left} ({found['memory_from']}); largest: {found['largest']}, {part};"
        f" {found['cure']}"
    )


def plan_text(found: dict[str, Any]) -> str:
    """The plan as people read it."""
    total = found["total_bytes"]
    rows = [
        (part, format_size(size), f"{100 * size / total:.1f} %") for part, size in found["parts_bytes"].items() if size
    ]
    rows.append(("total", format_size(total), "100.0 %"))
    work = MemoryLayout(**{name: found[name] for name in ("micro_batch_tokens", "recomputed_blocks", "resident_bytes")})
    where = "this machine" if found["device"] == "this" else found["device"]
    measured = (
        "Memory is within a tenth of what was measured on CPUs; sets in storage are an estimate."
        if found["verified"]
        else "Every figure is an estimate, not yet verified against measurement on such a device."
    )
    return "\n".join(
        [
            f"{found['model']}: {found['parameters'] / 1e6:,.1f} M parameters in {found['bits']} bits, on {where};"
            f" {work}",
            table(rows, ("estimate of", "memory", "share")),
            *([verdict(found)] if found["fits"] else []),  # a no is the line that the command ends with
            *([] if not found["fits"] else [_largest_text(found), _beside_text(found)]),
            *([] if found["round"] is None else [_round_text(found["round"])]),
            f"storage of {format_size(found['storage_bytes'])}: about {found['storage_sets']:,} sets of {TEXT_BYTES}"
            " bytes of text",
            f"{measured} Not counted: {', '.join(found['not_estimated'])}.",
        ]
    )


def _largest_text(found: dict[str, Any]) -> str:
    at_once = f"{found['sets_at_once']} sets of {found['tokens']} tokens at once, any batch in turn"
    return f"longest training set: {found['largest_tokens']} tokens; {at_once}"


def _beside_text(found: dict[str, Any]) -> str:
    return (
        "while a round trains, the published model goes on answering: both fit"
        if found["answers_while_training"]
        else "while a round trains, nothing is answered: the model and its training together do not fit"
    )


def _round_text(estimate: dict[str, Any]) -> str:
    stages = ", ".join(f"{stage} {_seconds(value)}" for stage, value in estimate["stages_seconds"].items())
    return (
        f"a round in {estimate['power_mode']} of {estimate['board']}: about {_seconds(estimate['seconds'])}"
        f" ({stages}), at most"
        f" {estimate['joules_at_most'] / 1000:.1f} kJ; from its clocks, not measured (docs/boards.md)"
    )


def _seconds(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
