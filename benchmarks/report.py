r"""One Markdown page with pictures of a result file, from its lines alone.

Run: python -m benchmarks.report LINES [--out DIR].
"""

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.lines import Measured, measured, read_lines

TITLES = {
    "ops": "Ops",
    "selector": "Selector",
    "encode": "Encoding",
    "answer": "Answering",
    "train": "Training",
}
MACHINE = (
    "device",
    "isa",
    "threads",
    "power_mode",
    "clocks_mhz",
    "torch",
    "commit",
    "dirty",
    "energy_source",
    "energy_covers",
    "energy_idle_watts",
)
Cases = dict[tuple[str, str], Measured]


def wrapped(page: str) -> str:
    """A page of headings, paragraphs and tables, its prose in lines of at most 120 characters."""
    return (
        "\n\n".join(
            block
            if block.startswith("|")
            else textwrap.fill(block, 120, break_long_words=False, break_on_hyphens=False)
            for block in page.rstrip("\n").split("\n\n")
        )
        + "\n"
    )


def write_report(source: Path, folder: Path) -> Path:
    """Write report.md and its pictures to a folder; the page."""
    cases = measured(read_lines(source))
    if not cases:
        raise SystemExit(
            f"{source}: no line has group, name, p20_ms, p50_ms and p80_ms; give a file that the harness wrote"
        )
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.md"
    page.write_text("\n".join(_page(source, cases, folder)) + "\n", encoding="utf-8")
    return page


def _page(source: Path, cases: Cases, folder: Path) -> Iterator[str]:
    last = list(cases.values())[-1].rows[-1]
    yield "# Measured\n"
    yield (
        f"From {source.name} alone, by `python -m benchmarks.report`. Medians of one call, with the 20th and 80th"
        " percentile; a case"
    )
    yield (
        "that gave a wrong result would have ended the run. Compare two files with `python -m benchmarks.compare`,"
        " never two pages.\n"
    )
    yield "| machine | |\n| --- | --- |"
    for name in MACHINE:
        if name in last:
            yield f"| {name} | {'-' if last[name] in (None, {}) else last[name]} |"
    for bench, title in TITLES.items():
        own = {case: found for case, found in cases.items() if _bench(found) == bench}
        if own:
            picture = folder / f"{bench}.png"
            _draw(picture, title, own)
            yield f"\n## {title}\n\n![{title}]({picture.name})"
            for group in dict.fromkeys(group for group, _ in own):
                yield f"\n**{group}**\n"
                yield from _table({name: found for (of, name), found in own.items() if of == group})


def _bench(found: Measured) -> str:
    return str(found.rows[-1].get("bench", "ops"))


def _table(own: dict[str, Measured]) -> Iterator[str]:
    """Only columns that have something to say here."""
    columns: dict[str, Any] = {
        "ms": lambda found, row: f"{found.p50:.4g} ({found.p20:.4g} to {found.p80:.4g})",
        "sets/s": lambda found, row: _rate(row.get("sets"), found),
        "tokens/s": lambda found, row: _rate(row.get("tokens"), found),
        "of copy bandwidth": lambda found, row: f"{row['share_of_copy']:.0%}" if row.get("share_of_copy") else "",
        "J": lambda found, row: f"{row['joules']:.3g}" if row.get("joules") else "",
    }
    cells = {
        name: {column: show(found, found.rows[-1]) for column, show in columns.items()} for name, found in own.items()
    }
    shown = [column for column in columns if any(row[column] for row in cells.values())]
    yield f"| case | {' | '.join(shown)} |\n|{' --- |' * (len(shown) + 1)}"
    for name, row in cells.items():
        yield f"| {name} | {' | '.join(row[column] or '-' for column in shown)} |"


def _rate(count: int | None, found: Measured) -> str:
    return "" if count is None else f"{1000 * count / found.p50:,.0f}"


def _draw(path: Path, title: str, own: Cases) -> None:
    """Medians with their spread, group by group."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys(group for group, _ in own))
    figure = Figure(figsize=(9, 1 + 0.24 * (len(own) + len(groups))), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    labels: list[tuple[int, str]] = []
    row = 0
    for number, group in enumerate(groups):
        labels.append((row, group))
        row += 1
        for (of, name), found in own.items():
            if of == group:
                color = f"C{number % 10}"
                axes.plot([found.p20, found.p80], [row, row], color=color, linewidth=2)
                axes.plot([found.p50], [row], color=color, marker="o", markersize=4)
                labels.append((row, name))
                row += 1
    axes.set_yticks([at for at, _ in labels], [label for _, label in labels], fontsize=7)
    for tick, (_, label) in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if label in groups else "normal")
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("ms a call: median, 20th to 80th percentile")
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left")
    figure.savefig(path)


def main(argv: list[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--out", type=Path, help="folder (default: that of the lines)")
    args = parser.parse_args(argv)
    print(write_report(args.lines, args.out or args.lines.parent))


if __name__ == "__main__":
    main()
