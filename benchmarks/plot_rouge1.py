"""The ROUGE-1 study in one picture: policies and arms beside the floors, and what more rounds and bytes give."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rouge1_cells import ROUNDS, SHARE, STEPS
from benchmarks.rouge1_lines import Line, is_core, mean_of_four, means, plain
from benchmarks.rouge1_splits import CONFIRMATORY

_ARMS = ("repeat", "synthesis", "none", "retrieval")
_FLOORS = {"base": "0.2", "echo": "tab:purple", "constant": "tab:brown", "all": "tab:green"}


def curves(lines: Sequence[Line], key: Callable[[Line], float]) -> dict[str, tuple[list[float], list[float]]]:
    """By policy and arm, the values of `key` that all confirmatory data sets have, and their points."""
    known: dict[str, dict[float, float]] = {}
    for value in sorted({key(line) for line in lines}):
        for (policy, arm), of in means(line for line in lines if key(line) == value).items():
            if (mean := mean_of_four(of)) is not None:
                known.setdefault(f"{policy}, {arm}", {})[value] = mean
    return {name: (list(at), list(at.values())) for name, at in known.items() if len(at) > 1}


def plot(lines: Sequence[Line], target: Path) -> None:
    """Draw what there is; a panel without lines says so."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = [line for line in lines if line["data"] in CONFIRMATORY]
    core = [line for line in lines if is_core(line) and plain(line)]
    figure, (bars, rounds, shares) = pyplot.subplots(1, 3, figsize=(15, 4.6), gridspec_kw={"width_ratios": [2, 1, 1]})
    _bars(bars, core)
    learned = [line for line in lines if line["policy"] and line["share"] == SHARE and line["steps"] == STEPS and plain(line)]
    _curves(rounds, curves(learned, lambda line: line["rounds"]), "rounds of 16 annotations")
    stored = [line for line in lines if line["policy"] and line["rounds"] == ROUNDS and line["steps"] == STEPS and plain(line)]
    _curves(shares, curves(stored, lambda line: 100 * line["share"]), "storage, % of the stream's bytes")
    figure.tight_layout()
    figure.savefig(target, dpi=110)


def _bars(axes: Any, core: Sequence[Line]) -> None:
    policies = list(dict.fromkeys(line["policy"] for line in core if line["policy"]))
    arms = [arm for arm in _ARMS if any(line["arm"] == arm for line in core)]
    reached = {key: mean_of_four(of) for key, of in means(core).items()}
    colours = dict(zip(_ARMS, ("tab:blue", "tab:orange", "tab:cyan", "0.6"), strict=True))
    for i, arm in enumerate(arms):
        at = [(k, mean) for k, policy in enumerate(policies) if (mean := reached.get((policy, arm))) is not None]
        places = [k + (i - (len(arms) - 1) / 2) * 0.8 / len(arms) for k, _ in at]
        axes.bar(places, [mean for _, mean in at], 0.8 / len(arms), label=arm, color=colours[arm])
    for arm, colour in _FLOORS.items():
        if (mean := reached.get(("", arm))) is not None:
            axes.axhline(mean, color=colour, linewidth=1, linestyle="--", label=arm)
    axes.set(ylabel="ROUGE-1 F, points, mean of four data sets", xticks=range(len(policies)), xlim=(-0.6, len(policies) - 0.4))
    axes.set_xticklabels(policies)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, ncols=3, loc="lower center", framealpha=0.95)


def _curves(axes: Any, drawn: dict[str, tuple[list[float], list[float]]], label: str) -> None:
    for name, (at, values) in drawn.items():
        axes.plot(at, values, marker="o", markersize=3, label=name)
    axes.set(xlabel=label)
    if drawn:
        axes.legend(fontsize=8)
    else:
        axes.text(0.5, 0.5, "untested", ha="center", va="center", transform=axes.transAxes, color="0.5")
