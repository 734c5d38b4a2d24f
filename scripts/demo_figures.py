"""What a model learns about the sample's owner with the default settings: README's table and docs/demo.png.

    python scripts/demo_figures.py --out FOLDER [--seeds 0,1,2] [--model smollm2|packaged]
    python scripts/demo_figures.py                # only the picture, from the lines that are there

One state a seed in FOLDER; a state that has read its stream is only measured again. Each is one line of
benchmarks/results/demo.jsonl. Needs the extra `plot`; minutes a seed.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgepers.assets import sample_facts, sample_stream, sample_test
from edgepers.cli.demo import PACKAGED, knows
from edgepers.config import Settings
from edgepers.evaluate.rouge import rouge1
from edgepers.model.sources import SMOLLM2
from edgepers.personalize import Personalizer
from edgepers.streams import read_dialogue_sets

KINDS = {"emily-": "about the owner", "memorybank-": "small talk", "dolly-": "general"}
SHOWN = ("about the owner", "general")
LINES = Path(__file__).parent.parent / "benchmarks" / "results" / "demo.jsonl"
NAMES = {SMOLLM2: "SmolLM2-135M", PACKAGED: "packaged test model"}
COLORS = ("#c9d6e4", "#1f5a99", "#ecd6c4", "#c8641e")  # before and after, by model
Row = dict[str, Any]


def measure(folder: Path, settings: Settings, name: str) -> Row:
    """Run the sample's stream, then count the facts known after each round and ROUGE-1 by kind."""
    facts = [json.loads(line) for line in sample_facts().read_text(encoding="utf-8").splitlines()]
    test = read_dialogue_sets(sample_test(), need_reference=True)

    def known(answers: Sequence[str]) -> int:
        return sum(knows(answer, fact["keywords"]) for answer, fact in zip(answers, facts, strict=True))

    with Personalizer(folder, settings) as owner:
        report = owner.run(sample_stream(), test=test)
        asked = [fact["question"] for fact in facts]
        counts = [known(owner.answer(asked, adapter=False))]
        for done in report["rounds"]:
            adapter = owner.state.adapter_folder(done["adapter"]) if done["published"] else None
            if adapter is not None:
                owner.llm.use_adapter(adapter)
                counts.append(known(owner.llm.answer(asked)))
            else:
                counts.append(counts[-1])
        questions = [dialogue.question for dialogue in test]
        answers = [owner.answer(questions, adapter=False), owner.answer(questions)]
    kinds = {}
    for prefix, kind in KINDS.items():
        rows = [i for i, dialogue in enumerate(test) if (dialogue.id or "").startswith(prefix)]
        wanted = [test[i].reference or "" for i in rows]
        kinds[kind] = [rouge1(wanted, [texts[i] for i in rows]) for texts in answers]
    whole = [report["rouge1_before"], report["rouge1_after"]]
    return {
        "model": name, "seed": settings.seed, "facts": counts, "of": len(facts), "kinds": kinds, "rouge1": whole,
        "corrections": [0, *(done["annotated_sets"] for done in report["rounds"])],
        "published": [done["published"] for done in report["rounds"]],
        "scale": [done["adapter_scale"] for done in report["rounds"]],
        "kept": report["buffer_sets"], "floor_echo": report["floor_echo"], "floor_constant": report["floor_constant"],
        "train_seconds": sum(done["train_seconds"] for done in report["rounds"]),
        "peak_memory_bytes": max(done["peak_memory_bytes"] for done in report["rounds"]),
        "bytes": [report["buffer_bytes"], report["buffer_peak_bytes"]],
    }  # fmt: skip


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Facts known, and ROUGE-1 by kind, before and after by model: bars are means, dots are seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    names = [name for name in NAMES if any(row["model"] == name for row in rows)]
    labels = [f"{NAMES[name]}, {when}" for name in names for when in ("before", "after 48 corrections")]
    colors = [color for i, name in enumerate(NAMES) if name in names for color in COLORS[2 * i : 2 * i + 2]]
    figure = Figure(figsize=(9, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 2))

    def bars(axes: Any, at: float, values: Callable[[Row], tuple[float, float]], form: str) -> None:
        groups = [[values(row)[when] for row in rows if row["model"] == name] for name in names for when in (0, 1)]
        for i, group in enumerate(groups):
            place, mean = at + i * 0.2, sum(group) / len(group)
            axes.bar(place, mean, width=0.18, color=colors[i])
            axes.plot([place] * len(group), group, ".", color="black", markersize=4)
            axes.annotate(
                format(mean, form), (place, max(group)), xytext=(0, 5), textcoords="offset points", ha="center"
            )

    bars(left, 0, lambda row: (row["facts"][0], row["facts"][-1]), ".2g")
    for i, kind in enumerate(SHOWN):
        bars(right, i, lambda row, kind=kind: tuple(row["kinds"][kind]), ".2f")  # type: ignore[misc]
    left.set_xticks([])
    left.set_ylim(0, rows[0]["of"])
    left.set_yticks(range(0, rows[0]["of"] + 1, 5))
    left.set_title(f"Facts known, of {rows[0]['of']}", loc="left", fontsize=11)
    middle = 0.1 * (len(colors) - 1)
    right.set_xticks([middle, 1 + middle], [f"questions {SHOWN[0]}", f"{SHOWN[1]} questions"])
    right.margins(y=0.12)
    right.set_title("ROUGE-1 on held-out questions", loc="left", fontsize=11)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    marks = [Rectangle((0, 0), 1, 1, color=color) for color in colors]
    figure.legend(marks, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path)


def main() -> None:
    """Measure each seed asked for, keep a line of each, draw all lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of the states; without it nothing is measured")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--model", choices=NAMES, default=SMOLLM2)
    parser.add_argument("--picture", type=Path, default=Path(__file__).parent.parent / "docs" / "demo.png")
    args = parser.parse_args()
    for seed in map(int, args.seeds.split(",")) if args.out else ():
        settings = Settings(annotations="gold", seed=seed, model=None if args.model == PACKAGED else args.model)
        with LINES.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(measure(args.out / str(seed), settings, args.model)) + "\n")
    rows = [json.loads(line) for line in LINES.read_text(encoding="utf-8").splitlines()]
    draw(args.picture, [row for row in rows if "model" in row])  # earlier lines are of other settings


if __name__ == "__main__":
    main()
