"""One picture of the policies' lines: admissions over time, what freshness costs in score, length, and overlap."""

import json
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
_SHARE = 0.05  # of the panels that show one share


def plot(source: Path, target: Path) -> None:
    """Draw all lines of a result file; means over data sets."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows: list[Row] = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    shares = sorted({row["share"] for row in rows})
    colours = dict(zip(policies, pyplot.rcParams["axes.prop_cycle"].by_key()["color"], strict=False))

    def of(policy: str, share: float) -> list[Row]:
        return [row for row in rows if row["policy"] == policy and row["share"] == share]

    figure, ((admissions, balance), (length, overlap)) = pyplot.subplots(2, 2, figsize=(12, 9))
    for policy in policies:
        parts = np.mean([np.array(row["admitted_by_eighth"]) * 8 / row["sets"] for row in of(policy, _SHARE)], axis=0)
        admissions.plot(np.arange(1, 9) / 8, parts, marker="o", markersize=3, color=colours[policy], label=policy)
        points = [
            (
                np.mean([row["last_quarter_of_even"] for row in of(policy, share)]),
                np.mean(
                    [
                        np.mean([row["rank"][k] for k in ("entropy", "domain_score", "dissimilarity")])
                        for row in of(policy, share)
                    ]
                ),
            )
            for share in shares
        ]
        balance.plot(*zip(*points, strict=True), color=colours[policy], linewidth=0.7)
        balance.scatter(*zip(*points, strict=True), s=[20, 45, 90], color=colours[policy])
    admissions.set(
        xlabel="part of the stream", ylabel=f"share of sets admitted ({_SHARE:.0%} of bytes)", ylim=(0, None)
    )
    admissions.legend(fontsize=8)
    balance.set(
        xlabel="admissions in the last quarter / even", ylabel="mean rank of EOE, DSS, IDD (0.5: a uniform sample)"
    )
    balance.set_title(f"bytes: {', '.join(f'{share:.0%}' for share in shares)}, small to large", fontsize=9)
    width = 0.8 / len(shares)
    for i, share in enumerate(shares):
        values = [np.mean([row["length_of_stream"] for row in of(policy, share)]) for policy in policies]
        length.bar(np.arange(len(policies)) + (i - 1) * width, values, width, label=f"{share:.0%}")
    length.axhline(1, color="0.6", linewidth=1)
    length.set(ylabel="length kept / length of the stream", xticks=range(len(policies)))
    length.set_xticklabels(policies, rotation=30)
    length.legend(fontsize=8)
    matrix = [
        [np.mean([row["overlap"].get(other, 1) for row in of(policy, _SHARE)]) for other in policies]
        for policy in policies
    ]
    overlap.imshow(matrix, vmin=0, vmax=1, cmap="Blues")
    for y, line in enumerate(matrix):
        for x, value in enumerate(line):
            overlap.text(
                x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if value > 0.6 else "black"
            )
    overlap.set(
        xticks=range(len(policies)),
        yticks=range(len(policies)),
        yticklabels=policies,
        title=f"overlap (Jaccard), {_SHARE:.0%} of bytes",
    )
    overlap.set_xticklabels(policies, rotation=30)
    data = len({row["data"] for row in rows})
    figure.suptitle(f"policies on {data} data sets, commit {rows[0]['commit']}", fontsize=10)
    figure.tight_layout()
    figure.savefig(target, dpi=110)
