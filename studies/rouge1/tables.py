"""The tables of the ROUGE-1 study's page, each made from its lines alone."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from studies.rouge1.cells import POLICIES, SCORES
from studies.rouge1.lines import Line
from studies.rouge1.splits import CONFIRMATORY, EXPLORATORY, OWNERS
from studies.rouge1.statistics import Difference, Side, differences
from studies.rouge1.study import NAMES, RIVAL, SEEDS, UNTESTED, Study, points, pooled, seeds_of, signed, table

__all__ = [
    "answers",
    "beside_paper",
    "costs",
    "equal",
    "owners",
    "owners_gains",
    "sweep",
    "tests",
    "tokens",
    "tokens_apart",
    "whole_system",
]

SIMPLE = ("longest", "loss", "density", "aging")  # policies beside the core's
MOST_APART = 0.02  # trained tokens of cells that are compared
# Qin et al. (DAC 2024), 2816 KB, a Llama of 3B: EOE, DSS, IDD alone and all three (table 4); Random, FIFO, K-Center
# (read off figure 2).
PAPER = {
    "alpaca": (0.2821, 0.2726, 0.2950, 0.3736, 0.266, 0.233, 0.271),
    "dolly": (0.2782, 0.2633, 0.2247, 0.3465, 0.242, 0.221, 0.247),
    "empathetic_dialogues": (0.2661, 0.2726, 0.2707, 0.3260, 0.235, 0.226, 0.214),
    "openorca": (0.2468, 0.2362, 0.2468, 0.2813, 0.239, 0.230, 0.204),
    "meddialog": (0.2608, 0.2726, 0.2931, 0.3429, 0.246, 0.241, 0.218),
}
_PAPER_COLUMNS = dict(zip((*SCORES, "quality", "random", "fifo", "kcenter"), range(7), strict=True))


def answers(study: Study) -> str:
    """Mean ROUGE-1 by arm and policy."""
    order = [("", arm) for arm in ("base", "echo", "constant", "all")]
    seeds: dict[tuple[str, str], dict[str, int]] = {}
    for line in study.core:
        of_line = seeds.setdefault((line["policy"], line["arm"]), {})
        of_line[line["data"]] = of_line.get(line["data"], 0) + 1
    order += [
        (policy, arm)
        for arm in (
            "repeat",
            "synthesis",
            "repeat-by-tokens",
            "synthesis-by-tokens",
            "none",
            "guarded",
            "warm",
            "retrieval",
        )
        for policy in sorted({key[0] for key in study.means})
    ]
    data = [name for name in (*CONFIRMATORY, *EXPLORATORY) if any(name in of for of in study.means.values())]
    rows = []
    for key in order:
        if key in study.means:
            of = study.means[key]
            counts = sorted(set(seeds[key].values()))
            label = f"{key[1]}{f', `{key[0]}`' if key[0] else ''}"
            mean = points(study.over_all(*key))
            rows.append(
                [
                    label,
                    "–".join(map(str, counts[:1] + counts[1:][-1:])),
                    *(points(of.get(name)) for name in data),
                    mean,
                ]
            )
    return table(["arm, policy", "seeds", *(NAMES[name] for name in data), "mean of four"], rows)


def equal(side: Side) -> Side:
    """The same with equal trained tokens."""
    return Side(side.policy, f"{side.arm}-by-tokens")


def tests(study: Study) -> str:
    """The confirmatory tests, and others beside them, as differences."""
    quality, rival = Side("quality", "repeat"), Side(RIVAL, "repeat")
    varied = Side("quality", "synthesis")
    asked: list[tuple[str, Side, Side, tuple[str, ...]]] = [
        ("primary: `quality` less the rival", quality, rival, CONFIRMATORY),
        ("second: synthesis less repeat", varied, quality, CONFIRMATORY),
    ]
    asked += [
        ("equal tokens: `quality` less the rival", equal(quality), equal(rival), CONFIRMATORY),
        *(
            (
                f"equal tokens: synthesis less repeat, `{policy}`",
                equal(Side(policy, "synthesis")),
                equal(Side(policy, "repeat")),
                CONFIRMATORY,
            )
            for policy in ("quality", RIVAL)
        ),
    ]
    others = [policy for policy in (*POLICIES, *SIMPLE) if policy not in ("quality", RIVAL)]
    asked += [
        (f"exploratory: `quality` less `{policy}`", quality, Side(policy, "repeat"), CONFIRMATORY) for policy in others
    ]
    for arm, what in (
        ("retrieval", "retrieval"),
        ("none", "8 epochs"),
        ("guarded", "with the guard"),
        ("warm", "warm starts"),
    ):
        asked += [
            (f"exploratory: {what} less repeat, `{side.policy}`", Side(side.policy, arm), side, CONFIRMATORY)
            for side in (quality, rival)
        ]
    asked += [
        ("other data: `quality` less the rival", quality, rival, EXPLORATORY),
        ("other data: synthesis less repeat", varied, quality, EXPLORATORY),
    ]
    rows, gap = [], study.gap()
    for name, one, other, data in asked:
        found = study.tested(one, other, data=data)
        if not found:
            rows.append([name, UNTESTED, "", "", "", ""])
        for difference in found:
            of_gap = (
                f"{difference.points / gap:+.0%}"
                if gap and difference.data == "pooled" and data == CONFIRMATORY
                else ""
            )
            title = "pooled" if difference.data == "pooled" else NAMES[difference.data]
            rows.append(
                [
                    f"{name}, {title}",
                    signed(difference),
                    f"{difference.p:.3f}",
                    f"{difference.holm:.3f}",
                    str(difference.seeds),
                    of_gap,
                ]
            )
    return table(["difference", "points [95 %]", "p", "Holm", "seeds", "of base to `all`"], rows)


def tokens_apart(study: Study, one: Side, other: Side) -> dict[str, list[float]]:
    """By which share more tokens one side trained than the other, by data set and in order of seeds.

    Where both are there.
    """
    trained = {
        (line["data"], line["policy"], line["arm"], line["seed"]): line["train_tokens"]
        for line in study.core
        if line["policy"] and "train_tokens" in line
    }
    apart: dict[str, list[float]] = {data: [] for data in CONFIRMATORY}
    for data, seed in itertools.product(CONFIRMATORY, range(SEEDS)):
        ours, theirs = (trained.get((data, side.policy, side.arm, seed)) for side in (one, other))
        if ours and theirs:
            apart[data].append(ours / theirs - 1)
    return apart


def tokens(study: Study) -> str:
    """By how much trained tokens differ within pairs of cells that are compared, by seed.

    Above the protocol's 2 % in bold.
    """
    pairs = [
        (f"`{policy}`, synthesis to repeat", Side(policy, "synthesis"), Side(policy, "repeat")) for policy in POLICIES
    ]
    pairs += [
        (f"repeat, `{policy}` to the rival", Side(policy, "repeat"), Side(RIVAL, "repeat"))
        for policy in POLICIES
        if policy != RIVAL
    ]
    pairs += [
        (f"by tokens: {name}", equal(one), equal(other))
        for name, one, other in pairs
        if {one.policy, other.policy} <= {"quality", RIVAL}
    ]

    def shown(share: float) -> str:
        return f"**{100 * share:+.0f}**" if abs(share) > MOST_APART else f"{100 * share:+.0f}"

    rows = [
        [name, *(", ".join(map(shown, shares)) for shares in tokens_apart(study, one, other).values())]
        for name, one, other in pairs
    ]
    return table(["%, by seed", *(NAMES[data] for data in CONFIRMATORY)], rows)


def whole_system(study: Study) -> str:
    """Dense buffer, synthesis and the best simple policy against the paper's bins without synthesis, at equal bytes."""
    ours, theirs = (RIVAL, "synthesis"), ("bins", "repeat")
    rows = []
    for share in study.shares():
        reached = [study.over_all(*side, share) for side in (ours, theirs)]
        closed = [study.closed(*side, share) for side in (ours, theirs)]
        difference = pooled(study.tested(Side(*ours), Side(*theirs), share))
        if difference is None or None in reached:
            continue
        of_gap = [UNTESTED if of is None else f"{of:+.0%}" for of in closed]
        where = f"{share:.0%}, {seeds_of(difference)}"
        rows.append([where, *map(points, reached), signed(difference), *of_gap, _more_closed(*closed)])
    head = [
        "storage",
        f"ours (`{ours[0]}`, synthesis)",
        "bins of 22 KB, repeat",
        "points [95 %]",
        "of base to `all`, ours",
        "bins",
        "more",
    ]
    return table(head, rows) if rows else f"{UNTESTED}.\n"


def _more_closed(ours: float | None, theirs: float | None) -> str:
    """By how much more of the gap one closes than the other, where the other closes any."""
    if ours is None or theirs is None:
        return UNTESTED
    return f"{ours / theirs - 1:+.0%}" if theirs > 0 else "bins close none"


def owners_gains(study: Study) -> list[tuple[str, float, Difference]]:
    """Arm, mean points over all test rows, and what it gains over the base model.

    MemoryBank's users, each with an adapter of their own.
    """
    together = together_of(study.of_owners)
    base = [line for line in study.of_owners if line["arm"] == "base"]
    groups = {OWNERS: [number for number, line in enumerate(base) for _ in line["rouge1"]]}
    arms = sorted({(line["policy"], line["arm"]) for line in together if line["policy"]})
    return [
        (
            arm,
            100
            * float(np.mean([line["rouge1"] for line in together if (line["policy"], line["arm"]) == (policy, arm)])),
            differences(together, Side(policy, arm), Side("", "base"), groups)[0],
        )
        for policy, arm in arms
    ]


def owners(study: Study) -> str:
    """`owners_gains`, in Markdown."""
    gains = owners_gains(study)
    if not gains:
        return f"{UNTESTED}.\n"
    base = [line["rouge1"] for line in study.of_owners if line["arm"] == "base"]
    mean = 100 * float(np.mean([value for row in base for value in row]))
    rows = [[arm, points(reached), signed(gain), str(gain.seeds)] for arm, reached, gain in gains]
    return table(
        [f"arm, {len(base)} owners", "points", "less the base model's [95 %]", "seeds"],
        [["base", points(mean), "", ""], *rows],
    )


def together_of(lines: Sequence[Line]) -> list[Line]:
    """All owners' rows as one data set's, by policy, arm and seed, of which all owners have a line.

    The base model's for every seed.
    """
    names = [line["data"] for line in lines if line["arm"] == "base"]
    by = {(line["policy"], line["arm"], line["seed"], line["data"]): line["rouge1"] for line in lines}
    by |= {("", "base", seed, name): by["", "base", 0, name] for *_, seed, _ in list(by) for name in names}
    return [
        {
            "data": OWNERS,
            "policy": policy,
            "arm": arm,
            "seed": seed,
            "rouge1": [value for name in names for value in by[policy, arm, seed, name]],
        }
        for policy, arm, seed in dict.fromkeys(key[:3] for key in by)
        if all((policy, arm, seed, name) in by for name in names)
    ]


def costs(study: Study) -> str:
    """Seconds and bytes beside what they bought."""
    rows = []
    base = study.over_all("", "base")
    for policy, arm in sorted(key for key in study.means if key[1] in ("repeat", "synthesis", "none")):
        lines = [line for line in study.confirmatory if (line["policy"], line["arm"]) == (policy, arm)]
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
        learned = float(np.mean([line["train_tokens"] for line in lines])) / 1000
        rows.append(
            [
                f"{arm}, `{policy}`",
                f"{gain:+.1f}",
                f"{work:.0f}",
                f"{scoring:.0f}",
                f"{synthesis:.0f}",
                f"{learned:.1f}",
                f"{kilobytes:.0f}",
                f"{60 * gain / work:+.2f}",
                f"{gain / kilobytes:+.3f}",
                metered,
            ]
        )
    head = [
        "arm, policy",
        "points above base",
        "CPU s",
        "of these scoring",
        "synthesis",
        "thousand tokens trained",
        "KB",
        "points a CPU minute",
        "points a KB",
        "joules",
    ]
    return table(head, rows)


def sweep(study: Study, title: str, key: Callable[[Line], Any], chosen: Callable[[Line], bool]) -> str:
    """Mean points by policy and arm, with CPU seconds, a column a value of `key`.

    Over data sets and seeds that have every column.
    """
    lines = [line for line in study.lines if line["policy"] and chosen(line)]
    columns = sorted({key(line) for line in lines})
    if len(columns) < 2:
        return f"{UNTESTED}.\n"
    cells: dict[tuple[str, str], dict[Any, dict[tuple[str, int], tuple[float, float]]]] = {}
    for line in lines:
        of = cells.setdefault((line["policy"].partition("@")[0], line["arm"].partition("@")[0]), {}).setdefault(
            key(line), {}
        )
        of[line["data"], line["seed"]] = (100 * float(np.mean(line["rouge1"])), line.get("made_cpu_seconds", 0.0))
    rows = []
    for (policy, arm), found in sorted(cells.items()):
        shared = sorted(set.intersection(*(set(found.get(column, {})) for column in columns)))
        if shared:
            values = [np.mean([found[column][cell] for cell in shared], axis=0) for column in columns]
            told = [f"{mean:.1f} ({seconds:.0f} s)" for mean, seconds in values]
            names = ", ".join(NAMES[data] for data in dict.fromkeys(data for data, _ in shared))
            rows.append([f"{arm}, `{policy}`", names, str(len(shared)), *told])
    return table([title, "data", "cells", *map(str, columns)], rows) if rows else f"{UNTESTED}.\n"


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
