r"""What the ROUGE-1 study found, made from its lines alone: RESULTS.md and its pictures.

Run: python -m benchmarks.rouge1_report [--lines benchmarks/results/rouge1_test.jsonl] [--out benchmarks/RESULTS.md]

What was not run reads "untested". The paper's own numbers stand beside ours and are never mixed with them: another model, other
splits, other annotations.
"""

import argparse
import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import RESULTS
from benchmarks.plot_rouge1 import plot
from benchmarks.rouge1_cells import POLICIES, ROUNDS, SCORES, SHARE, STEPS, TRAINED
from benchmarks.rouge1_lines import Line, is_core, mean_of_four, means, plain, study_lines
from benchmarks.rouge1_splits import CONFIRMATORY, EXPLORATORY
from benchmarks.rouge1_tests import Difference, Side, differences

__all__ = ["main", "report"]

RIVAL = "random"  # best of random, fifo, kcenter on development rows: PROTOCOL.md, Changes
SEEDS = 5  # of the core; with fewer, what is said is interim
LEAST_PASSING = 0.3  # of variations, or synthesis is not testable on a model
NAMES = {
    "alpaca": "ALPACA",
    "dolly": "DOLLY",
    "empathetic_dialogues": "Empathetic",
    "medical_questiondoctors": "questiondoctors",
    "meddialog": "MedDialog",
    "openorca": "OpenOrca",
}
UNTESTED = "untested"

# Qin et al. (DAC 2024), 2816 KB, a Llama of 3B: EOE, DSS, IDD alone and all three (table 4); Random, FIFO, K-Center (read off figure 2).
PAPER = {
    "alpaca": (0.2821, 0.2726, 0.2950, 0.3736, 0.266, 0.233, 0.271),
    "dolly": (0.2782, 0.2633, 0.2247, 0.3465, 0.242, 0.221, 0.247),
    "empathetic_dialogues": (0.2661, 0.2726, 0.2707, 0.3260, 0.235, 0.226, 0.214),
    "openorca": (0.2468, 0.2362, 0.2468, 0.2813, 0.239, 0.230, 0.204),
    "meddialog": (0.2608, 0.2726, 0.2931, 0.3429, 0.246, 0.241, 0.218),
}
_PAPER_COLUMNS = dict(zip((*SCORES, "quality", "random", "fifo", "kcenter"), range(7), strict=True))


HEAD = """# ROUGE-1: what selecting and synthesizing gave

Made by `python -m benchmarks.rouge1_report` from [{part}](results/{part}) alone; [PROTOCOL.md](PROTOCOL.md) says what a cell is,
and was written before. Model: the packaged one (8 M parameters; weak, so that its figures stand for no larger one). {cells} cells,
{core} of them of the core; {machines}; commits {commits}. No meter on this machine: joules read "{untested}".
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def points(value: float | None) -> str:
    """Hundredths of ROUGE-1 F."""
    return UNTESTED if value is None else f"{value:.1f}"


def signed(difference: Difference) -> str:
    """Points with their interval."""
    return f"{difference.points:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"


class Study:
    """Lines of one part and one model; rows' dialogues are in those of the base model."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.core = [line for line in lines if is_core(line)]
        of_base = {line["data"]: line["groups"] for line in lines if line["arm"] == "base"}
        self.groups = {data: of_base[data] for data in CONFIRMATORY if data in of_base}
        self.means = means(self.core)
        self.tested = functools.cache(self._tested)  # the verdict and the table ask for the same

    def _tested(self, one: Side, other: Side) -> list[Difference]:
        """`differences` over the confirmatory data sets, pooled where all are there; none where either side is missing."""
        found = differences(self.core, one, other, self.groups)
        return found if len(found) > len(CONFIRMATORY) else [difference for difference in found if difference.data != "pooled"]

    def floors(self) -> str:
        """What costs nothing, beside the best of what was trained."""
        at = {arm: self.over_all("", arm) for arm in ("base", "echo", "constant")}
        trained = {key: mean for key in self.means if key[0] and (mean := self.over_all(*key)) is not None}
        if not trained or None in at.values():
            return ""
        best = max(trained, key=lambda key: trained[key])
        told = ", ".join(f"{arm} {points(mean)}" for arm, mean in at.items())
        return (
            f"Floors, mean of four data sets: {told}; the best of what was trained is {best[1]}, `{best[0]}`, with {points(trained[best])}."
        )

    def over_all(self, policy: str, arm: str) -> float | None:
        """Mean points over the confirmatory data sets; None where one is missing."""
        return mean_of_four(self.means.get((policy, arm), {}))

    def gap(self) -> float | None:
        """Points between base and `all`, as `over_all`."""
        base, best = self.over_all("", "base"), self.over_all("", "all")
        return None if base is None or best is None else best - base

    def passing(self) -> tuple[int, int]:
        """Variations that passed the check, of all that were asked."""
        made = [line for line in self.core if line["arm"] == "synthesis"]
        kept = sum(line["variations"] for line in made)
        return kept, kept + sum(sum(line["refused"].values()) for line in made)


def verdict(study: Study) -> str:
    """What the default policy is to be, first of all."""
    against = pooled(study.tested(Side("quality", "repeat"), Side("random", "repeat")))
    kept, asked = study.passing()
    if against is None:
        first = f"**Whether `quality` pays over `random`: {UNTESTED}.**"
    elif against.seeds < SEEDS:
        first = f"**Interim, {against.seeds} of {SEEDS} seeds: `quality` {signed(against)} points over `random` at equal work, pooled.**"
    elif against.low > 0:
        first = f"**`quality` stays the default: {signed(against)} points over `random` at equal work, pooled.**"
    else:
        first = f"**`quality` is not shown to pay over `random`: {signed(against)} points at equal work, pooled.**"
    if not asked:
        return f"{first} Synthesis: {UNTESTED}."
    if kept < LEAST_PASSING * asked:
        return f"{first} Synthesis is not testable on this model: {kept} of {asked} variations ({kept / asked:.0%}) pass the check."
    synthesis = pooled(study.tested(Side("quality", "synthesis"), Side("quality", "repeat")))
    share = f"{kept / asked:.0%} of variations pass the check"
    return f"{first} Synthesis: {UNTESTED if synthesis is None else signed(synthesis)} points over the same sets repeated; {share}."


def pooled(found: Sequence[Difference]) -> Difference | None:
    """The pooled one."""
    return next((difference for difference in found if difference.data == "pooled"), None)


def answers(study: Study) -> str:
    """Mean ROUGE-1 by arm and policy."""
    order = [("", arm) for arm in ("base", "echo", "constant", "all")]
    seeds: dict[tuple[str, str], dict[str, int]] = {}
    for line in study.core:
        of_line = seeds.setdefault((line["policy"], line["arm"]), {})
        of_line[line["data"]] = of_line.get(line["data"], 0) + 1
    order += [(policy, arm) for arm in ("repeat", "synthesis", "none", "retrieval") for policy in sorted({key[0] for key in study.means})]
    data = [name for name in (*CONFIRMATORY, *EXPLORATORY) if any(name in of for of in study.means.values())]
    rows = []
    for key in order:
        if key in study.means:
            of = study.means[key]
            counts = sorted(set(seeds[key].values()))
            label = f"{key[1]}{f', `{key[0]}`' if key[0] else ''}"
            mean = points(study.over_all(*key))
            rows.append([label, "–".join(map(str, counts[:1] + counts[1:][-1:])), *(points(of.get(name)) for name in data), mean])
    return table(["arm, policy", "seeds", *(NAMES[name] for name in data), "mean of four"], rows)


def tests(study: Study) -> str:
    """The confirmatory tests, and `quality` against every other policy beside them."""
    asked = [
        ("primary: `quality` less the rival", Side("quality", "repeat"), Side(RIVAL, "repeat")),
        ("second: synthesis less repeat", Side("quality", "synthesis"), Side("quality", "repeat")),
    ]
    others = [policy for policy in POLICIES if policy not in ("quality", RIVAL)]
    asked += [(f"exploratory: `quality` less `{policy}`", Side("quality", "repeat"), Side(policy, "repeat")) for policy in others]
    asked += [("exploratory: repeat less retrieval", Side("quality", "repeat"), Side("quality", "retrieval"))]
    asked += [("exploratory: 8 epochs less repeat", Side("quality", "none"), Side("quality", "repeat"))]
    rows, gap = [], study.gap()
    for name, one, other in asked:
        found = study.tested(one, other)
        if not found:
            rows.append([name, UNTESTED, "", "", "", ""])
        for difference in found:
            of_gap = f"{difference.points / gap:+.0%}" if gap and difference.data == "pooled" else ""
            title = "pooled" if difference.data == "pooled" else NAMES[difference.data]
            rows.append(
                [f"{name}, {title}", signed(difference), f"{difference.p:.3f}", f"{difference.holm:.3f}", str(difference.seeds), of_gap]
            )
    return table(["difference", "points [95 %]", "p", "Holm", "seeds", "of base to `all`"], rows)


def costs(study: Study) -> str:
    """Seconds and bytes beside what they bought."""
    rows = []
    base = study.over_all("", "base")
    for policy, arm in sorted(key for key in study.means if key[1] in ("repeat", "synthesis", "none")):
        lines = [line for line in study.core if (line["policy"], line["arm"]) == (policy, arm) and line["data"] in CONFIRMATORY]
        reached = study.over_all(policy, arm)
        if base is None or reached is None:
            continue
        gain = reached - base
        scoring, synthesis, made = (
            float(np.mean([line[f"{part}_cpu_seconds"] for line in lines])) for part in ("scoring", "synthesis", "made")
        )
        work = scoring + made
        kilobytes = float(np.mean([line["storage_bytes"] for line in lines])) / 1000
        joules = [line.get("energy_joules") for line in lines]
        metered = f"{np.mean([j for j in joules if j]):.0f}" if any(joules) else UNTESTED
        rows.append([
            f"{arm}, `{policy}`", f"{gain:+.1f}", f"{work:.0f}", f"{scoring:.0f}", f"{synthesis:.0f}", f"{kilobytes:.0f}",
            f"{60 * gain / work:+.2f}", f"{gain / kilobytes:+.3f}", metered,
        ])  # fmt: skip
    head = [
        "arm, policy",
        "points above base",
        "CPU s",
        "of these scoring",
        "synthesis",
        "KB",
        "points a CPU minute",
        "points a KB",
        "joules",
    ]
    return table(head, rows)


def sweep(study: Study, title: str, key: Callable[[Line], Any], chosen: Callable[[Line], bool]) -> str:
    """Mean points by policy and arm, with CPU seconds, a column for each value of `key`; over the data sets that have every column."""
    lines = [line for line in study.lines if line["policy"] and chosen(line)]
    columns = sorted({key(line) for line in lines})
    if len(columns) < 2:
        return f"{UNTESTED}.\n"
    cells: dict[tuple[str, str], dict[Any, dict[str, list[tuple[float, float]]]]] = {}
    for line in lines:
        of = cells.setdefault((line["policy"], line["arm"].partition("@")[0]), {}).setdefault(key(line), {})
        of.setdefault(line["data"], []).append((100 * float(np.mean(line["rouge1"])), line.get("made_cpu_seconds", 0.0)))
    rows = []
    for (policy, arm), found in sorted(cells.items()):
        shared = sorted(set.intersection(*(set(found.get(column, {})) for column in columns)))
        if shared:
            values = [np.mean([np.mean(found[column][data], axis=0) for data in shared], axis=0) for column in columns]
            told = [f"{mean:.1f} ({seconds:.0f} s)" for mean, seconds in values]
            rows.append([f"{arm}, `{policy}`", ", ".join(NAMES[data] for data in shared), *told])
    return table([title, "data", *map(str, columns)], rows) if rows else f"{UNTESTED}.\n"


def beside_paper(study: Study) -> str:
    """Single scores against all three, and the policies: ours, and the paper's in brackets."""
    rows = []
    for data in (*CONFIRMATORY, *EXPLORATORY):
        row = [NAMES[data]]
        for policy, column in _PAPER_COLUMNS.items():
            ours = study.means.get((policy, "repeat"), {}).get(data)
            theirs = f"{100 * PAPER[data][column]:.1f}" if data in PAPER else "none"
            row.append(f"{points(ours)} ({theirs})")
        rows.append(row)
    return table(["", "EOE alone", "DSS alone", "IDD alone", "all three", "random", "FIFO", "k-center"], rows)


def full(line: Line) -> bool:
    """Of the whole stream, with the protocol's steps, and no variant."""
    return plain(line) and line["policy"] in POLICIES and (line["rounds"], line["steps"]) == (ROUNDS, STEPS)


def report(lines: Sequence[Line], part: str) -> str:
    """The whole page."""
    study = Study(lines)
    machines = sorted({f"{line['device']}, {line['isa']}" for line in lines})
    commits = sorted({line["commit"] for line in lines})
    sections = [
        ("Answers", "Mean ROUGE-1 F in points (hundredths), over rows and seeds.", answers(study)),
        ("Tests", "As PROTOCOL.md has them; 10,000 draws, seeds and dialogues drawn with replacement.", tests(study)),
        ("Cost", "CPU seconds of one cell without its measuring; scoring is that of the whole stream.", costs(study)),
        (
            "Learning curve",
            "After one, two and three rounds of 16 annotations. The paper's figure 2 has sets seen instead.",
            sweep(study, "rounds", lambda line: line["rounds"], lambda line: line["share"] == SHARE and line["arm"] == "repeat"),
        ),
        (
            "Storage",
            "Share of the stream's stored bytes, at least 48 KB.",
            sweep(study, "share", lambda line: line["share"], full),
        ),
        (
            "Variations a set",
            "Asked of the model for each annotated set; the paper's figure 3 has 1 to 9 on MedDialog, .241 to .345.",
            sweep(
                study,
                "variations",
                lambda line: int(line["arm"].partition("@")[2] or TRAINED["synthesis"]["generations"]),
                lambda line: is_core(line) and line["policy"] == "quality" and line["arm"].partition("@")[0] == "synthesis",
            ),
        ),
        (
            "Entropy of embedding",
            "`quality` with each reading of it.",
            sweep(
                study,
                "entropy",
                lambda line: line["policy"].partition("@")[2] or "windowed",
                lambda line: is_core(line) and line["policy"].startswith("quality") and line["arm"] == "repeat",
            ),
        ),
        ("Beside the paper", "Ours (the paper's), *repeat*, points; not to be compared with each other.", beside_paper(study)),
    ]
    head = HEAD.format(
        part=part, cells=len(lines), core=len(study.core), machines="; ".join(machines), commits=", ".join(commits), untested=UNTESTED
    )
    head += f"\n{verdict(study)} {study.floors()}\n\n![policies and arms, rounds, storage](results/{part.removesuffix('.jsonl')}.png)\n"
    return head + "".join(f"\n## {title}\n\n{what}\n\n{body}\n" for title, what, body in sections)


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=Path, default=RESULTS / "rouge1_test.jsonl")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    args = parser.parse_args()
    lines = study_lines(args.lines)
    args.out.write_text(report(lines, args.lines.name), encoding="utf-8")
    plot(lines, args.lines.with_suffix(".png"))


if __name__ == "__main__":
    main()
