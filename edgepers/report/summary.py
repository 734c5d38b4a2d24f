"""A report as tables for a person; loads no torch."""

from collections.abc import Sequence
from typing import Any

from edgepers.config import format_size
from edgepers.text import table

__all__ = ["run_summary", "status_summary", "storage_line"]


def storage_line(report: dict[str, Any]) -> str:
    """Bytes on disk now and at the peak, of the budget."""
    now, peak, budget = (
        format_size(report[key]) for key in ("buffer_bytes", "buffer_peak_bytes", "storage_budget_bytes")
    )
    return f"{now}, peak {peak}, of {budget}"


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def run_summary(report: dict[str, Any]) -> str:
    """A run's report as two small tables."""
    dropped = dict(report["dropped_by_reason"])
    again = dropped.pop("repeat", 0)
    counts = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    facts: list[tuple[str, str]] = [
        ("dialogue sets seen", f"{report['seen']} ({report['invalid']} malformed lines skipped)"),
        (
            "kept",
            f"{report['buffer_sets']} ({report['admitted']} admitted, {report['evicted']} evicted, {counts or 'none'}"
            " dropped)",
        ),
        *([("asked again", f"{again} in the same words, counted on sets that are kept")] if again else []),
        ("storage", storage_line(report)),
        ("annotations", str(report["annotated"])),
        (
            "variations",
            f"{report['synthesized']} kept, {sum(report['refused'].values())} refused {report['refused'] or ''}",
        ),
        ("published", report["published"] or "the base model"),
    ]
    if report.get("rouge1_after") is not None:
        floor = f"floors: echo {_score(report['floor_echo'])}, one constant answer {_score(report['floor_constant'])}"
        facts.append(("ROUGE-1", f"{_score(report['rouge1_before'])} -> {_score(report['rouge1_after'])} ({floor})"))
    if report["preset"]:
        facts.append(("preset", f"{report['preset']}: choices of the paper where they are known, not edgepers' own"))
    facts.append(("energy", _energy(report)))
    lines = [table(facts)]
    if report["rounds"]:
        rounds = [
            (
                r["round"],
                r["seen"],
                r["train_sets"],
                r["variations"],
                r["train_steps"],
                f"{r['train_seconds']:.1f}",
                format_size(r["peak_memory_bytes"]),
                _score(r["rouge1"]),
                "yes" if r["published"] else "no",
                r["reason"],
            )
            for r in report["rounds"]
        ]
        lines.append(
            table(
                rounds,
                ("round", "seen", "sets", "variations", "steps", "seconds", "memory", "ROUGE-1", "published", "note"),
            )
        )
    return "\n\n".join(lines)


def _energy(report: dict[str, Any]) -> str:
    joules, energy = report["energy_joules"], report["energy"]
    if joules is None:
        return "not metered, or not all of it; edgepers doctor says why"
    meter = energy["meter"]
    mode = f", power mode {meter['power_mode']}" if meter["power_mode"] else ""
    rest = "" if energy["idle_joules"] is None else f", {energy['idle_joules']:.0f} J of them at rest"
    return f"{joules:.0f} J in {energy['seconds']:.0f} s{rest} ({meter['covers']}{mode})"


def status_summary(report: dict[str, Any]) -> str:
    """A state at rest; what the kept sets hold is told where the report has it."""
    admitted, each = report["admissions"]["admitted"], report["admissions"]["sets_each"]
    rows = [
        *(_contents(report) if "kept" in report else []),
        ("mean age", "-" if report["mean_age"] is None else f"{report['mean_age']:.0f} sets"),
        ("admitted", f"{_spark(admitted, each)} (each bar {each} sets of the stream)" if admitted else "-"),
        ("asked, answered", f"{report['asked']}, {report['answered']} of those kept"),
        ("next round at", report["next_round_at"]),
        ("payload", f"{format_size(report['payload_bytes'])} of {format_size(report['buffer_bytes'])} on disk"),
        ("written", _wear(report["wear"], report["seen"], report["admitted"])),
        *([("set aside", f"{report['quarantined']} records that could not be read")] if report["quarantined"] else []),
    ]
    return f"{run_summary(report)}\n\n{table(rows)}"


def _contents(report: dict[str, Any]) -> list[tuple[str, str]]:
    domains = ", ".join(f"{name} {count}" for name, count in report["domains"].items())
    length = ", ".join(
        f"{name} {report['length_correlation'][key]:+.2f}"
        for name, key in (("EOE", "entropy"), ("DSS", "domain_score"), ("IDD", "dissimilarity"))
        if report["length_correlation"][key] is not None
    )
    return [
        ("domains", domains or "-"),
        ("mean length", "-" if report["mean_words"] is None else f"{report['mean_words']:.0f} words"),
        ("scores with length", f"{length} (Spearman, kept sets)" if length else "-"),
    ]


def _wear(wear: dict[str, int], seen: int, admitted: int) -> str:
    """What the flash had to take."""
    written = f"{format_size(wear['written_bytes'])} in {wear['commits']} commits for {seen} sets seen"
    if not admitted:
        return written
    return (
        f"{written}, {format_size(wear['written_bytes'] / admitted)} and {wear['fsyncs'] / admitted:.1f} fsyncs a set"
        " admitted"
    )


def _spark(counts: Sequence[int], most: int) -> str:
    """Counts as bars of eight heights; a blank is none."""
    return "".join(" ▁▂▃▄▅▆▇█"[min(-(-8 * count // most), 8)] for count in counts)
