"""Draw bench_ops: speed against the best plain torch, and the share of the machine's copy bandwidth."""

import json
from pathlib import Path
from typing import Any

TORCH = ("torch", "batched", "tiled")  # plain torch without padding; the best of them is the rival of record


def plot(source: Path, target: Path) -> None:
    """Draw the `score_tokens` rows without a center of a result file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = grouped(source)
    figure, (ratios, shares) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    for dtype, marker in (("float32", "o"), ("bfloat16", "s")):
        for width in (256, 2048, 3072):
            chosen = sorted(
                (key[2], rows)
                for key, rows in groups.items()
                if key[:2] == (dtype, width) and not rows["ours"]["centred"]
            )
            if not chosen:
                continue
            batches = [batch for batch, _ in chosen]
            best = [
                min(rows[name]["p50_ms"] for name in TORCH if name in rows) / rows["ours"]["p50_ms"]
                for _, rows in chosen
            ]
            share = [100 * rows["ours"]["share_of_copy"] for _, rows in chosen]
            for axes, values in ((ratios, best), (shares, share)):
                axes.plot(
                    batches,
                    values,
                    marker=marker,
                    label=f"{dtype}, d = {width}",
                    linestyle="-" if dtype == "float32" else "--",
                )
    for axes, label, goal in (
        (ratios, "times faster than the best plain torch", 8),
        (shares, "% of copy bandwidth", 50),
    ):
        axes.set(
            xscale="log",
            xlabel="sets in a batch",
            ylabel=label,
            ylim=(0, None),
            xticks=(1, 8, 64, 512),
            xticklabels=("1", "8", "64", "512"),
        )
        axes.axhline(goal, color="0.6", linewidth=1)
        axes.grid(visible=True, alpha=0.3)
    ratios.legend(fontsize=8)
    one = next(iter(groups.values()))["ours"]
    figure.suptitle(
        f"score_tokens, {one['device']}, {one['isa']}, {one['threads']} thread(s), commit {one['commit']}", fontsize=10
    )
    figure.tight_layout()
    figure.savefig(target, dpi=110)


def grouped(source: Path) -> dict[tuple[str, int, int, bool], dict[str, dict[str, Any]]]:
    """Rows of `score_tokens` by (dtype, width, batch, centred) and name."""
    groups: dict[tuple[str, int, int, bool], dict[str, dict[str, Any]]] = {}
    for line in source.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["op"] == "score_tokens":
            groups.setdefault((row["dtype"], row["width"], row["batch"], row["centred"]), {})[row["name"]] = row
    return groups
