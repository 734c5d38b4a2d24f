"""What the packaged owner's model learns with the default settings: README's table and docs/demo.png.

    python scripts/demo_figures.py --out FOLDER [--seeds 0,1,2] [--picture docs/demo.png]

One state a seed in FOLDER; a state that has read its stream is only measured again. Needs the extra `plot`. Minutes a seed.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgepers.assets import sample_facts, sample_stream, sample_test
from edgepers.cli.demo import knows
from edgepers.config import Settings
from edgepers.evaluate.rouge import rouge1
from edgepers.personalize import Personalizer
from edgepers.streams import read_dialogue_sets

KINDS = {"emily-": "about the owner", "memorybank-": "small talk", "dolly-": "general"}
BLUE, ORANGE, GREY = "#1f5a99", "#c8641e", "#b8b8b8"
Row = dict[str, Any]


def measure(folder: Path, seed: int) -> Row:
    """Run the sample's stream with the defaults, then count the facts known after each round and ROUGE-1 by kind."""
    facts = [json.loads(line) for line in sample_facts().read_text(encoding="utf-8").splitlines()]
    test = read_dialogue_sets(sample_test(), need_reference=True)

    def known(answers: Sequence[str]) -> int:
        return sum(knows(answer, fact["keywords"]) for answer, fact in zip(answers, facts, strict=True))

    with Personalizer(folder, Settings(annotations="gold", seed=seed)) as owner:
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
    for prefix, name in KINDS.items():
        rows = [i for i, dialogue in enumerate(test) if (dialogue.id or "").startswith(prefix)]
        wanted = [test[i].reference or "" for i in rows]
        kinds[name] = [rouge1(wanted, [texts[i] for i in rows]) for texts in answers]
    whole = [report["rouge1_before"], report["rouge1_after"]]
    return {
        "seed": seed, "facts": counts, "of": len(facts), "kinds": kinds, "rouge1": whole,
        "corrections": [0, *(done["annotated_sets"] for done in report["rounds"])],
        "published": [done["published"] for done in report["rounds"]],
        "scale": [done["adapter_scale"] for done in report["rounds"]],
        "kept": report["buffer_sets"], "floor_echo": report["floor_echo"], "floor_constant": report["floor_constant"],
        "train_seconds": sum(done["train_seconds"] for done in report["rounds"]),
        "peak_memory_bytes": max(done["peak_memory_bytes"] for done in report["rounds"]),
        "bytes": [report["buffer_bytes"], report["buffer_peak_bytes"]],
    }  # fmt: skip


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Facts known before and after each round, and ROUGE-1 before and after by kind: bars are means, dots are seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    steps = range(len(rows[0]["facts"]))
    means = [sum(row["facts"][i] for row in rows) / len(rows) for i in steps]
    left.bar(steps, means, color=[GREY, *[ORANGE] * (len(means) - 1)], width=0.55)
    for i in steps:
        left.annotate(f"{means[i]:.1f}".removesuffix(".0"), (i, max(row["facts"][i] for row in rows)), xytext=(0, 5),
                      textcoords="offset points", ha="center")  # fmt: skip
    left.set_xticks(steps, [("before" if i == 0 else f"after {16 * i}\ncorrections") for i in steps])
    left.set_ylim(0, rows[0]["of"])
    left.set_yticks(range(0, rows[0]["of"] + 1, 5))
    left.set_title(f"Facts about the owner that it knows, of {rows[0]['of']}", loc="left", fontsize=11)
    names = list(KINDS.values())
    for at, color, label in ((0, GREY, "before"), (1, BLUE, "after 48 corrections")):
        values = [[row["kinds"][name][at] for row in rows] for name in names]
        places = [i + (at - 0.5) * 0.36 for i in range(len(names))]
        right.bar(places, [sum(v) / len(v) for v in values], width=0.34, color=color, label=label)
        for place, value in zip(places, values, strict=True):
            right.plot([place] * len(value), value, ".", color="black", markersize=4)
    for row in rows:
        left.plot(steps, row["facts"], ".", color="black", markersize=5)
    right.set_xticks(range(len(names)), names)
    right.set_title("ROUGE-1 on 101 held-out questions", loc="left", fontsize=11)
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> None:
    """Measure each seed, print a line a seed, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the states")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--picture", type=Path, default=Path(__file__).parent.parent / "docs" / "demo.png")
    args = parser.parse_args()
    rows = []
    for seed in map(int, args.seeds.split(",")):
        rows.append(measure(args.out / str(seed), seed))
        print(json.dumps(rows[-1]), flush=True)
    draw(args.picture, rows)


if __name__ == "__main__":
    main()
