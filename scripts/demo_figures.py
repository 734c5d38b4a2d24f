"""What the packaged test model learns about the sample's owner, by settings: README's table and docs/demo.png.

    python scripts/demo_figures.py --out FOLDER [--seeds 0,1,2] [--policy NAME] [--lora-targets NAME]
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
from edgepers.cli.demo import knows
from edgepers.config import Settings
from edgepers.evaluate.rouge import rouge1
from edgepers.personalize import Personalizer
from edgepers.streams import read_dialogue_sets

KINDS = {"emily-": "about the owner", "memorybank-": "small talk", "dolly-": "general"}
SHOWN = ("about the owner", "general")
LINES = Path(__file__).parent.parent / "benchmarks" / "results" / "demo.jsonl"
DEFAULTS = "defaults"
COLORS = ("#b8b8b8", "#c8641e", "#1f5a99")
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
        "settings": name, "seed": settings.seed, "facts": counts, "of": len(facts), "kinds": kinds, "rouge1": whole,
        "corrections": [0, *(done["annotated_sets"] for done in report["rounds"])],
        "published": [done["published"] for done in report["rounds"]],
        "scale": [done["adapter_scale"] for done in report["rounds"]],
        "kept": report["buffer_sets"], "floor_echo": report["floor_echo"], "floor_constant": report["floor_constant"],
        "train_seconds": sum(done["train_seconds"] for done in report["rounds"]),
        "peak_memory_bytes": max(done["peak_memory_bytes"] for done in report["rounds"]),
        "bytes": [report["buffer_bytes"], report["buffer_peak_bytes"]],
    }  # fmt: skip


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Facts known, and ROUGE-1 by kind, before and after by settings: bars are means, dots are seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    names = sorted({row["settings"] for row in rows}, key=lambda name: (name != DEFAULTS, name))
    labels = ["before", *(f"after 48 corrections, {name}" for name in names)]
    figure = Figure(figsize=(9, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 2))

    def bars(axes: Any, at: float, values: Callable[[Row], tuple[float, float]], form: str) -> None:
        groups = [
            [values(rows[0])[0]],
            *([values(row)[1] for row in rows if row["settings"] == name] for name in names),
        ]
        for i, group in enumerate(groups):
            place, mean = at + i * 0.28, sum(group) / len(group)
            axes.bar(place, mean, width=0.26, color=COLORS[i])
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
    right.set_xticks([0.28, 1.28], [f"questions {SHOWN[0]}", f"{SHOWN[1]} questions"])
    right.margins(y=0.12)
    right.set_title("ROUGE-1 on held-out questions", loc="left", fontsize=11)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    marks = [Rectangle((0, 0), 1, 1, color=color) for color in COLORS[: len(labels)]]
    figure.legend(marks, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    figure.savefig(path)


def main() -> None:
    """Measure each seed asked for, keep a line of each, draw all lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of the states; without it nothing is measured")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--policy", default=Settings().policy)
    parser.add_argument("--lora-targets", default=Settings().lora_targets)
    parser.add_argument("--picture", type=Path, default=Path(__file__).parent.parent / "docs" / "demo.png")
    args = parser.parse_args()
    default = Settings()
    named = {"--policy": (args.policy, default.policy), "--lora-targets": (args.lora_targets, default.lora_targets)}
    name = " ".join(f"{option} {value}" for option, (value, usual) in named.items() if value != usual) or DEFAULTS
    for seed in map(int, args.seeds.split(",")) if args.out else ():
        settings = Settings(annotations="gold", seed=seed, policy=args.policy, lora_targets=args.lora_targets)
        with LINES.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(measure(args.out / str(seed), settings, name)) + "\n")
    draw(args.picture, [json.loads(line) for line in LINES.read_text(encoding="utf-8").splitlines()])


if __name__ == "__main__":
    main()
