"""The ROUGE-1 study in one picture.

Policies and arms beside the floors, what more rounds, bytes and variations give, and scores.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from studies.rouge1.cells import POLICIES, ROUNDS, SCORES, SHARE, STEPS, TRAINED
from studies.rouge1.lines import Line, is_core, mean_of_four, means, plain
from studies.rouge1.splits import CONFIRMATORY
from studies.rouge1.statistics import Side
from studies.rouge1.study import NAMES, RIVAL, Study
from studies.rouge1.tables import equal
from studies.rouge1.worth import correlations

_ARMS = {"repeat": "tab:blue", "synthesis": "tab:orange", "none": "tab:cyan", "retrieval": "0.6"}
_FLOORS = {"base": "0.2", "echo": "tab:purple", "constant": "tab:brown", "all": "tab:green"}


def curves(lines: Sequence[Line], key: Callable[[Line], float]) -> dict[str, tuple[list[float], list[float]]]:
    """By policy and arm, the values of `key` that all confirmatory data sets have, and their points."""
    known: dict[str, dict[float, float]] = {}
    for value in sorted({key(line) for line in lines}):
        for (policy, arm), of in means(line for line in lines if key(line) == value).items():
            if (mean := mean_of_four(of)) is not None:
                known.setdefault(f"{policy}, {arm}", {})[value] = mean
    return {name: (list(at), list(at.values())) for name, at in known.items() if len(at) > 1}


def plot(study: Study, target: Path, worths: Sequence[dict[str, Any]] = ()) -> None:
    """Draw what there is; a panel without lines says so.

    Args:
        study: what to draw.
        target: a PNG.
        worths: lines of studies/rouge1/worth.py.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = [line for line in study.lines if line["data"] in CONFIRMATORY]
    core = [line for line in lines if is_core(line) and plain(line)]
    figure, axes = pyplot.subplots(2, 4, figsize=(21, 9.5), layout="constrained")
    (bars, tested, scores, worth_of), (rounds, others, shares, variations) = axes
    _bars(bars, [line for line in core if line["policy"] in ("", *POLICIES)])
    quality, rival = Side("quality", "repeat"), Side(RIVAL, "repeat")
    asked = {f"quality − {RIVAL}": (quality, rival), "synthesis − repeat": (Side("quality", "synthesis"), quality)}
    _differences(tested, study, asked, each=True)
    explored = {f"{arm} − repeat": (Side(RIVAL, arm), rival) for arm in ("retrieval", "none", "guarded", "warm")}
    explored |= {f"quality − {other}": (quality, Side(other, "repeat")) for other in ("fifo", "kcenter", "bins")}
    explored |= {"quality − random, equal tokens": (equal(quality), equal(rival))}
    explored |= {"synthesis − repeat, equal tokens": (equal(Side("quality", "synthesis")), equal(quality))}
    _differences(others, study, explored, each=False)
    _single(scores, core)
    _worths(worth_of, correlations(worths))
    learned = [
        line for line in lines if line["policy"] and line["share"] == SHARE and line["steps"] == STEPS and plain(line)
    ]
    _curves(
        rounds,
        curves(paired(learned, lambda line: line["rounds"]), lambda line: line["rounds"]),
        "rounds of 16 annotations",
    )
    stored = [
        line for line in lines if line["policy"] and line["rounds"] == ROUNDS and line["steps"] == STEPS and plain(line)
    ]
    in_percent = curves(paired(stored, lambda line: line["share"]), lambda line: 100 * line["share"])
    _curves(shares, in_percent, "storage, % of the stream's bytes (48 KB at least)")
    _variations(variations, lines)
    figure.savefig(target, dpi=80)


def _differences(axes: Any, study: Study, asked: Mapping[str, tuple[Side, Side]], *, each: bool) -> None:
    """Points with 95 % intervals, pooled, and of each data set."""
    label = "points of ROUGE-1 F [95 %]"
    rows = [
        (f"{name}, {'pooled' if found.data == 'pooled' else NAMES[found.data]} ({found.seeds})", found)
        for name, (one, other) in asked.items()
        for found in study.tested(one, other)
        if each or found.data == "pooled"
    ]
    if not rows:
        return _untested(axes, label)
    for place, (_, found) in enumerate(reversed(rows)):
        colour = "tab:red" if found.data == "pooled" else "tab:blue"
        axes.plot([found.low, found.high], [place, place], color=colour)
        axes.plot([found.points], [place], marker="o", color=colour)
    axes.axvline(0, color="0.5", linewidth=1)
    axes.set(
        xlabel=label, yticks=range(len(rows)), title="confirmatory (seeds)" if each else "exploratory, pooled (seeds)"
    )
    axes.set_yticklabels([name for name, _ in reversed(rows)])
    return None


def paired(lines: Sequence[Line], key: Callable[[Line], float]) -> list[Line]:
    """Those of seeds that every value of `key` has, for the same policy, arm and data set.

    So that points of a curve can be compared.
    """
    values = {key(line) for line in lines}
    there: dict[tuple[Any, ...], set[float]] = {}
    for line in lines:
        there.setdefault((line["policy"], line["arm"], line["data"], line["seed"]), set()).add(key(line))
    return [line for line in lines if there[line["policy"], line["arm"], line["data"], line["seed"]] == values]


def _single(axes: Any, core: Sequence[Line]) -> None:
    """Each score alone, all three, and simple policies, over the seeds that all have."""
    shown = (*SCORES, "quality", "random", "fifo", "kcenter", "longest", "loss", "density", "aging", "bins")
    repeat = [line for line in core if line["arm"] == "repeat" and line["policy"] in shown]
    seeds = [
        {line["seed"] for line in repeat if line["policy"] == policy} for policy in {line["policy"] for line in repeat}
    ]
    shared = set.intersection(*seeds) if seeds else set()
    reached = {key[0]: mean_of_four(of) for key, of in means(line for line in repeat if line["seed"] in shared).items()}
    bars = {policy: mean for policy in reversed(shown) if (mean := reached.get(policy)) is not None}
    if not bars:
        return _untested(axes)
    names, points = list(bars), list(bars.values())
    axes.barh(names, points, color=["tab:olive" if name in SCORES else "tab:blue" for name in names])
    axes.set(
        xlabel="ROUGE-1 F, points",
        title=f"one score alone, and policies: repeat, seed {', '.join(map(str, sorted(shared)))}",
    )
    axes.set_xlim(min(points) - 0.5, max(points) + 0.3)
    return None


def _variations(axes: Any, lines: Sequence[Line]) -> None:
    """Points and seconds against variations asked for, as the paper's figure 3."""
    mine = [
        line
        for line in lines
        if is_core(line) and line["policy"] == "quality" and line["arm"].partition("@")[0] == "synthesis"
    ]
    asked = {id(line): int(line["arm"].partition("@")[2] or TRAINED["synthesis"]["generations"]) for line in mine}
    plainly = paired(
        [{**line, "arm": "synthesis", "asked": asked[id(line)]} for line in mine], lambda line: line["asked"]
    )
    if not (drawn := curves(plainly, lambda line: line["asked"])):
        return _untested(axes, "variations asked of each set")
    _curves(axes, drawn, "variations asked of each set")
    seconds = {
        at: [line["made_cpu_seconds"] for line in plainly if line["asked"] == at]
        for at in next(iter(drawn.values()))[0]
    }
    beside = axes.twinx()
    beside.plot(list(seconds), [sum(of) / len(of) for of in seconds.values()], color="0.6", linestyle=":", marker=".")
    beside.set(ylabel="CPU seconds of a cell (dotted)")
    return None


def _worths(axes: Any, found: dict[str, tuple[float, float, float]]) -> None:
    """Rank correlation of each score with what a set is worth."""
    label = "rank correlation with what a set is worth [95 %]"
    if not found:
        return _untested(axes, label)
    for row, (mean, low, high) in enumerate(found.values()):
        axes.plot([low, high], [row, row], color="tab:blue")
        axes.plot([mean], [row], marker="o", color="tab:blue")
    axes.axvline(0, color="0.5", linewidth=1)
    axes.set(xlabel=label, yticks=range(len(found)))
    axes.set_yticklabels(found)
    return None


def _untested(axes: Any, label: str = "") -> None:
    axes.set(xlabel=label)
    axes.text(0.5, 0.5, "untested", ha="center", va="center", transform=axes.transAxes, color="0.5")


def _bars(axes: Any, core: Sequence[Line]) -> None:
    reached = {key: mean for key, of in means(core).items() if (mean := mean_of_four(of)) is not None}
    arms = [arm for arm in _ARMS if any(key[1] == arm and key[0] for key in reached)]
    policies = [policy for policy in POLICIES if any(key[0] == policy for key in reached)]
    for i, arm in enumerate(arms):
        at = [(k, reached[policy, arm]) for k, policy in enumerate(policies) if (policy, arm) in reached]
        places = [k + (i - (len(arms) - 1) / 2) * 0.8 / len(arms) for k, _ in at]
        axes.bar(places, [mean for _, mean in at], 0.8 / len(arms), label=arm, color=_ARMS[arm])
    for arm, colour in _FLOORS.items():
        if ("", arm) in reached:
            axes.axhline(reached["", arm], color=colour, linewidth=1, linestyle="--", label=arm)
    axes.set(
        ylabel="ROUGE-1 F, points, mean of four data sets",
        xticks=range(len(policies)),
        xlim=(-0.6, len(policies) - 0.4),
    )
    axes.set_xticklabels(policies)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, ncols=3, loc="lower center", framealpha=0.95)


def _curves(axes: Any, drawn: dict[str, tuple[list[float], list[float]]], label: str) -> None:
    if not drawn:
        return _untested(axes, label)
    for name, (at, values) in drawn.items():
        axes.plot(at, values, marker="o", markersize=3, label=name)
    axes.set(xlabel=label, xticks=sorted({value for at, _ in drawn.values() for value in at}))
    axes.legend(fontsize=8)
    return None
