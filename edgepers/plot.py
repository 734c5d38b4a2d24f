"""Pictures; matplotlib comes with the extra `plot`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["learning_curve"]

_HALO = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.9}
_BLUE, _ORANGE, _GREY = "#1f5a99", "#c8641e", "#777777"


def learning_curve(
    path: Path, points: Sequence[tuple[int, float]], known: Sequence[int], facts: int, floors: Mapping[str, float | None]
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
        left.annotate(f"{y:.3f}", (x, y), textcoords="offset points", xytext=(0, 8), ha="center", color=_BLUE, bbox=_HALO, zorder=3)
    for name, floor in floors.items():
        if floor is not None:
            left.axhline(floor, color=_GREY, linestyle="--", linewidth=1)
            left.annotate(
                f"floor: {name}", (seen[-1], floor), textcoords="offset points", xytext=(0, 4), ha="right", fontsize=8, color=_GREY
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
