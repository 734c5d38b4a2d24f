"""Pictures; matplotlib comes with the extra `plot`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgepers.errors import StreamError, UsageError

__all__ = ["learning_curve", "plan_picture", "profile_picture", "state_picture", "write_picture"]

_HALO = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.9}
_BLUE, _ORANGE, _GREY = "#1f5a99", "#c8641e", "#777777"


def learning_curve(
    path: Path,
    points: Sequence[tuple[int, float]],
    known: Sequence[int],
    facts: int,
    floors: Mapping[str, float | None],
) -> None:
    """ROUGE-1 on held-out questions, and facts known, over dialogue sets seen.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    seen = [x for x, _ in points]
    left.plot(seen, [y for _, y in points], color=_BLUE, marker="o", linewidth=2)
    for x, y in points:
        left.annotate(
            f"{y:.3f}",
            (x, y),
            textcoords="offset points",
            xytext=(0, 8),
            ha="center",
            color=_BLUE,
            bbox=_HALO,
            zorder=3,
        )
    for name, floor in floors.items():
        if floor is not None:
            left.axhline(floor, color=_GREY, linestyle="--", linewidth=1)
            left.annotate(
                f"floor: {name}",
                (seen[-1], floor),
                textcoords="offset points",
                xytext=(0, 4),
                ha="right",
                fontsize=8,
                color=_GREY,
            )
    left.set_title("Held-out questions", loc="left")
    left.set_ylabel("ROUGE-1 F")
    left.margins(x=0.08, y=0.2)
    right.bar([str(x) for x in seen], known, color=_ORANGE, width=0.5)
    for i, count in enumerate(known):
        right.annotate(str(count), (i, count), textcoords="offset points", xytext=(0, 4), ha="center", color=_ORANGE)
    right.set_title(f"Facts about the owner, of {facts}", loc="left")
    right.set_ylabel("facts known")
    right.set_ylim(0, facts)
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (left, right):
        axes.set_xlabel("dialogue sets seen (0: base model)")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def plan_picture(path: Path, found: Mapping[str, Any]) -> None:
    """Draw memory by part, stacked, under the line of what the device leaves.

    `found` is what `edgepers plan --json` prints.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    below, colors = 0.0, colormaps["tab20"]
    parts = [(part, size / 1e9) for part, size in found["parts_bytes"].items() if size]
    for i, (part, size) in enumerate(parts):
        axes.bar([0], [size], bottom=[below], width=0.5, color=colors(i % 20), label=f"{part}, {size:.2f} GB")
        below += size
    left = found["memory_bytes"] / 1e9
    axes.axhline(left, color=_ORANGE if below > left else _GREY, linewidth=2)
    axes.annotate(
        f"{left:.2f} GB: {found['memory_from']}", (-0.3, left), textcoords="offset points", xytext=(0, 4), fontsize=8
    )
    axes.set_xlim(-0.3, 1.2)
    axes.set_ylim(0, 1.15 * max(left, below))
    axes.set_xticks([])
    axes.set_ylabel("GB, estimated")
    axes.set_title(f"{found['model']} on {found['device']}: {below:.2f} GB", loc="left")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=8, loc="center right")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    figure.savefig(path)


def write_picture(path: Path, draw: Callable[..., None], *args: Any) -> None:
    """Draw a picture to a file.

    Raises:
        UsageError: matplotlib is missing, or the file's ending is of no picture.
        StreamError: the file cannot be written.
    """
    try:
        draw(path, *args)
    except ImportError:
        raise UsageError("pictures need matplotlib; pip install 'edgepers[plot]'") from None
    except ValueError as error:
        raise UsageError(f"{path}: {error}; give a file that ends in .png, .svg or .pdf") from None
    except OSError as error:
        raise StreamError(f"{path}: the picture could not be written ({error.strerror})") from None


def state_picture(path: Path, found: Mapping[str, Any]) -> None:
    """What `status` reports: domains, scores, ages, admissions over time, bytes of budget, rounds.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    (domains, scores, ages), (admissions, budget, rounds) = figure.subplots(2, 3)
    _domains(domains, found)
    _scores(scores, found)
    _ages(ages, found)
    _admissions(admissions, found)
    _budget(budget, found)
    _rounds(rounds, found)
    for axes in (domains, scores, ages, admissions, budget, rounds):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"{found['buffer_sets']} of {found['seen']} sets kept by policy {found['policy']}; next round at"
        f" {found['next_round_at']}",
        x=0.01,
        ha="left",
        fontsize=13,
    )
    figure.savefig(path)


def profile_picture(path: Path, found: Mapping[str, Any]) -> None:
    """What `profile` measured: memory over time by stage, latencies, and energy, or seconds where nothing meters it.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, height_ratios=(1.2, 1))
    memory, latency, stages = (
        figure.add_subplot(grid[0, :]),
        figure.add_subplot(grid[1, 0]),
        figure.add_subplot(grid[1, 1]),
    )
    _memory(memory, found["memory"])
    _latency(latency, found["latency_ms"])
    _stages(stages, {"load": found["energy"]["load"], **found["energy"]["stages"]}, found["energy"]["meter"])
    for axes in (memory, latency, stages):
        axes.spines[["top"]].set_visible(False)
    mode = f", power mode {found['power_mode']}" if found["power_mode"] else ""
    size = f"{found['parameters'] / 1e6:,.0f} M parameters in {found['bits']} bits"
    figure.suptitle(f"{found['model']}, {size}, on {found['device']}{mode}", x=0.01, ha="left", fontsize=13)
    figure.savefig(path)


def _memory(axes: Any, memory: Mapping[str, Any]) -> None:
    seconds, ends = memory["seconds"], [*(stage["seconds"] for stage in memory["stages"][1:]), memory["seconds"][-1]]
    axes.plot(seconds, [value / 1e9 for value in memory["host_bytes"]], color=_BLUE, label="host, whole process")
    if any(memory["gpu_bytes"]):
        axes.plot(seconds, [value / 1e9 for value in memory["gpu_bytes"]], color=_ORANGE, label="GPU")
    storage = axes.twinx()
    storage.spines[["top"]].set_visible(False)
    storage.plot(seconds, [value / 1e6 for value in memory["storage_bytes"]], color=_GREY, label="storage (right)")
    storage.set_ylabel("MB on disk")
    for number, (stage, end) in enumerate(zip(memory["stages"], ends, strict=True)):
        axes.axvspan(stage["seconds"], end, color=_GREY, alpha=0.12 * (number % 2), linewidth=0)
        if end - stage["seconds"] > seconds[-1] / 40:  # a shorter one has no room for its name
            middle = (stage["seconds"] + end) / 2
            axes.annotate(
                stage["name"],
                (middle, 1),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="top",
                fontsize=8,
                rotation=90,
            )
    axes.margins(x=0, y=0.35)
    lines = [*axes.get_lines(), *storage.get_lines()]
    axes.legend(lines, [line.get_label() for line in lines], frameon=False, fontsize=8, loc="lower right")
    axes.set_ylim(bottom=0)
    storage.set_ylim(bottom=0)
    _title(axes, "Memory by stage", "seconds", "GB")


def _latency(axes: Any, latency: Mapping[str, Any]) -> None:
    known = {name: each for name, each in latency.items() if each["p50"] is not None}
    for row, (name, each) in enumerate(reversed(known.items())):
        axes.plot([each["p50"], each["p95"]], [row, row], color=_BLUE, linewidth=2)
        axes.plot([each["p50"]], [row], color=_BLUE, marker="o")
        axes.plot([each["p95"]], [row], color=_BLUE, marker="|", markersize=10)
        text = f"{name}: {each['p50']:.3g}, {each['p95']:.3g}"
        axes.annotate(text, (each["p50"], row), textcoords="offset points", xytext=(0, 7), fontsize=9)
    axes.set_xscale("log")
    axes.set_yticks([])
    axes.margins(x=0.3, y=0.2)
    axes.spines[["left", "right"]].set_visible(False)
    _title(axes, "Latency: median (dot) and 95th percentile", "milliseconds")


def _stages(axes: Any, stages: Mapping[str, Any], meter: Mapping[str, Any]) -> None:
    metered = all(part["joules"] is not None for part in stages.values())
    names = list(stages)[::-1]
    values = [stages[name]["joules" if metered else "seconds"] for name in names]
    axes.barh(names, values, color=_ORANGE if metered else _GREY)
    if metered:
        axes.barh(
            names,
            [stages[name]["idle_joules"] or 0 for name in names],
            color=_GREY,
            label="of these, the machine at rest",
        )
        axes.legend(frameon=False, fontsize=8)
    for row, value in enumerate(values):
        axes.annotate(f"{value:.3g}", (value, row), textcoords="offset points", xytext=(4, 0), va="center", fontsize=9)
    axes.margins(x=0.15)
    axes.spines[["right"]].set_visible(False)
    _title(
        axes,
        f"Energy by stage ({meter['covers']})" if metered else "Time by stage (no meter of energy)",
        "joules" if metered else "seconds",
    )


def _title(axes: Any, text: str, x: str = "", y: str = "") -> None:
    axes.set_title(text, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _domains(axes: Any, found: Mapping[str, Any]) -> None:
    names = list(found["domains"])[:20][::-1]
    axes.barh(names, [found["domains"][name] for name in names], color=_BLUE)
    axes.tick_params(axis="y", labelsize=8)
    _title(axes, "Kept sets by domain", "sets")


def _scores(axes: Any, found: Mapping[str, Any]) -> None:
    kept = found["kept"]
    dots = axes.scatter(kept["words"], kept["entropy"], c=kept["dissimilarity"], s=14, cmap="viridis", vmin=0, vmax=1)
    axes.figure.colorbar(dots, ax=axes, label="IDD")
    said = found["length_correlation"]
    parts = [
        f"{name} {said[key]:+.2f}"
        for name, key in (("EOE", "entropy"), ("DSS", "domain_score"), ("IDD", "dissimilarity"))
        if said[key] is not None
    ]
    _title(axes, "Scores and length", f"words (Spearman with length: {', '.join(parts)})" if parts else "words", "EOE")


def _ages(axes: Any, found: Mapping[str, Any]) -> None:
    kept = found["kept"]
    parts = [
        [age for age, yes in zip(kept["age"], kept["annotated"], strict=True) if yes is wanted]
        for wanted in (True, False)
    ]
    axes.hist(
        parts,
        bins=20,
        stacked=True,
        color=[_ORANGE, _BLUE],
        label=[f"answered by the owner ({len(parts[0])})", "not asked about"],
    )
    if kept["age"]:
        axes.margins(y=0.3)
        axes.legend(frameon=False, fontsize=8)
        _title(axes, f"Age of kept sets (mean {found['mean_age']:.0f})", "sets of the stream since", "sets")
    else:
        _title(axes, "Age of kept sets: none yet")


def _admissions(axes: Any, found: Mapping[str, Any]) -> None:
    each, counts = found["admissions"]["sets_each"], found["admissions"]["admitted"]
    axes.bar(
        [each * (i + 0.5) for i in range(len(counts))],
        [100 * count / each for count in counts],
        width=0.9 * each,
        color=_BLUE,
    )
    axes.set_ylim(0, 100)
    _title(axes, "Admissions over time", "sets seen", "% admitted")


def _budget(axes: Any, found: Mapping[str, Any]) -> None:
    parts = {"now": found["buffer_bytes"], "peak": found["buffer_peak_bytes"], "budget": found["storage_budget_bytes"]}
    axes.bar(list(parts), [value / 1000 for value in parts.values()], color=[_BLUE, _ORANGE, _GREY], width=0.6)
    for i, value in enumerate(parts.values()):
        axes.annotate(f"{value / 1000:.0f}", (i, value / 1000), textcoords="offset points", xytext=(0, 4), ha="center")
    axes.margins(y=0.15)
    _title(axes, "Storage", "", "KB on disk")


def _rounds(axes: Any, found: Mapping[str, Any]) -> None:
    done = found["rounds"]
    if not done:
        _title(axes, "Rounds: none yet")
        return
    axes.set_xticks([r["round"] for r in done])
    loss = axes.twinx()
    loss.spines[["top"]].set_visible(False)
    loss.set_ylabel("loss on the reserve, nats a token", color=_BLUE)
    for where, key, name, color, marker in (
        (axes, "rouge1", "ROUGE-1, test set", _ORANGE, "s"),
        (axes, "guard_perplexity_rise", "rise of general perplexity", _GREY, "^"),
        (loss, "guard_loss_after", "loss on the reserve (right)", _BLUE, "o"),
    ):
        known = [(r["round"], r[key]) for r in done if r[key] is not None]
        if known:
            where.plot(*zip(*known, strict=True), color=color, marker=marker, label=name)
    axes.set_ylim(bottom=0)
    axes.margins(y=0.4)
    aside = [r["round"] for r in done if not r["published"]]
    for number in aside:
        axes.axvline(number, color=_GREY, linestyle=":", linewidth=1)
    lines = [*axes.get_lines(), *loss.get_lines()]
    named = [line for line in lines if not str(line.get_label()).startswith("_")]
    axes.legend(named, [line.get_label() for line in named], frameon=False, fontsize=8, loc="upper left")
    _title(axes, "Rounds" + (" (dotted: kept aside)" if aside else ""), "round")
