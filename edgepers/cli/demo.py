"""The whole chain on the sample stream, shown: what it learned, what it cost, where it lies."""

import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgepers.assets import sample_facts, sample_stream, sample_test
from edgepers.cli.console import Console
from edgepers.config import Settings, format_size
from edgepers.errors import StreamError
from edgepers.evaluate.rouge import rouge1
from edgepers.files import replace_file
from edgepers.model.sources import SMOLLM2, SMOLLM2_CURE, smollm2_file
from edgepers.personalize import Personalizer
from edgepers.report.pictures import learning_curve
from edgepers.report.summary import storage_line
from edgepers.streams import DialogueSet, read_dialogue_sets
from edgepers.text import clip, table

__all__ = ["demo", "demo_model", "knows"]

Log = Callable[[str], None]
Row = dict[str, Any]

PACKAGED = "packaged"
SETTINGS = {"annotations": "gold"}  # the stream's references answer for Emily; all else is as it is by default


def knows(answer: str, keywords: Sequence[str]) -> bool:
    """Whether an answer holds one of a fact's keywords as whole words."""
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", answer, re.IGNORECASE) for word in keywords)


def demo_model(model: str | None, log: Log) -> str | None:
    """The model that the demonstration runs on: what is given, else SmolLM2, else the packaged one (None).

    Args:
        model: a name as for `--model`; "packaged": the packaged one.
        log: is told where SmolLM2 is not installed.
    """
    if model is not None:
        return None if model == PACKAGED else model
    if smollm2_file() is not None:
        return SMOLLM2
    log(f"SmolLM2-135M is not installed ({SMOLLM2_CURE}); this is the packaged test model, which is weak.\n")
    return None


def demo(out: Path, *, model: str | None = None, rounds: int = 2, seed: int = 0, log: Log = print) -> Row:
    """Run the demonstration in a folder and show it.

    Run again in the same folder, it goes on where it stopped or shows the result again.

    Args:
        out: the folder.
        model: as for `demo_model`.
        rounds: up to 3, of 200 sets each.
        seed: of every random choice.
        log: is told what is shown.
    """
    began = time.monotonic()
    facts: list[Row] = [json.loads(line) for line in sample_facts().read_text(encoding="utf-8").splitlines()]
    test = read_dialogue_sets(sample_test(), need_reference=True)
    out.mkdir(parents=True, exist_ok=True)
    settings = Settings.make({**SETTINGS, "seed": seed, "model": demo_model(model, log)})
    sets = rounds * settings.every
    log(
        f"Emily talks to {settings.model or 'the packaged model'} for weeks: {sets} dialogue sets, of which it may"
        f" keep {format_size(settings.storage)}."
    )
    log(
        f"After every {settings.every} she corrects {settings.annotations_per_round} answers, and it learns from those."
    )
    log(f"Held out: {len(test)} questions, and {len(facts)} facts about her.\n")
    console = Console(total=sets)
    with Personalizer(out / "state", settings, listener=console) as owner:
        report = owner.run(sample_stream(), test=test, limit=sets)
        console.close()
        first_answers = owner.llm.answer([fact["question"] for fact in facts], adapter=False)
        known = [_known(first_answers, facts)]
        last_answers: list[str] = []
        for done in report["rounds"]:
            folder = owner.state.adapter_folder(done["adapter"] if done["published"] else "")
            if done["published"] and folder is not None and folder.is_dir():
                owner.llm.use_adapter(folder)
                last_answers = owner.llm.answer([fact["question"] for fact in facts])
                known.append(_known(last_answers, facts))
            else:
                known.append(known[-1])
        before, after = (owner.held_out_answers(test, adapter=adapter) for adapter in (False, True))
    seconds = time.monotonic() - began
    result = report | {
        "facts": len(facts),
        "facts_known": [len(names) for names in known],
        "seconds": round(seconds, 1),
    }
    picture = _draw(out / "learning_curve.png", result, log)
    replace_file(out / "report.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    log(_scores(result))
    log(_by_kind(test, before, after))
    log(_costs(result, seconds))
    log(_conversation(test, before, after))
    log(_facts(facts, known, first_answers, last_answers))
    current = out / "state" / "adapters" / str(report["published"])
    log(table([("adapter", current), ("report", out / "report.json"), *([("picture", picture)] if picture else [])]))
    return result


def _known(answers: Sequence[str], facts: Sequence[Row]) -> list[str]:
    return [fact["id"] for fact, answer in zip(facts, answers, strict=True) if knows(answer, fact["keywords"])]


def _scores(result: Row) -> str:
    known = result["facts_known"]
    rows: list[tuple[object, ...]] = [
        ("base model", 0, "-", "-", f"{result['rouge1_before']:.4f}", f"{known[0]} of {result['facts']}", "-")
    ]
    for done, facts in zip(result["rounds"], known[1:], strict=True):
        note = "yes" if done["published"] else f"no: {done['reason']}"
        rows.append(
            (
                f"round {done['round']}",
                done["seen"],
                done["train_sets"],
                len(done["recurring"]),
                f"{done['rouge1']:.4f}",
                f"{facts} of {result['facts']}",
                note,
            )
        )
    rows.append(("floor: echo the question", "", "", "", f"{result['floor_echo']:.4f}", "", ""))
    rows.append(("floor: one constant answer", "", "", "", f"{result['floor_constant']:.4f}", "", ""))
    return "\n" + table(rows, ("", "seen", "corrected", "asked again", "ROUGE-1", "facts known", "published")) + "\n"


def _by_kind(test: Sequence[DialogueSet], before: Sequence[str], after: Sequence[str]) -> str:
    rows = []
    for prefix, name in (
        ("emily-", "her own facts, in new words"),
        ("memorybank-", "small talk (MemoryBank)"),
        ("dolly-", "general questions (DOLLY)"),
    ):
        chosen = [i for i, dialogue in enumerate(test) if (dialogue.id or "").startswith(prefix)]
        references = [test[i].reference or "" for i in chosen]
        scores = [rouge1(references, [answers[i] for i in chosen]) for answers in (before, after)]
        rows.append((name, len(chosen), *(f"{score:.4f}" for score in scores)))
    return table(rows, ("held-out questions by kind", "count", "ROUGE-1 before", "after")) + "\n"


def _costs(result: Row, seconds: float) -> str:
    return (
        table(
            [
                ("kept", f"{result['buffer_sets']} of {result['seen']} sets seen"),
                ("storage", storage_line(result)),
                ("corrections", str(result["annotated"])),
                (
                    "asked again",
                    f"{len(result['rounds'][-1]['recurring'])} kept sets that ask what was corrected, learned with it",
                ),
                ("time", f"{seconds:.0f} s, {sum(r['train_seconds'] for r in result['rounds']):.0f} s of it training"),
                ("peak memory", format_size(max((r["peak_memory_bytes"] for r in result["rounds"]), default=0))),
            ]
        )
        + "\n"
    )


def _conversation(test: Sequence[DialogueSet], before: Sequence[str], after: Sequence[str]) -> str:
    """The largest gain, the median, the largest loss: not the three nicest."""
    gain = [
        rouge1([d.reference or ""], [b]) - rouge1([d.reference or ""], [a])
        for d, a, b in zip(test, before, after, strict=True)
    ]
    order = sorted(range(len(test)), key=lambda i: gain[i])
    lines = []
    for name, i in (("largest gain", order[-1]), ("median", order[len(order) // 2]), ("largest loss", order[0])):
        lines += [f"[{name}, ROUGE-1 {gain[i]:+.2f}]  {test[i].question}"]
        lines += [
            f"  before       {before[i]}",
            f"  after        {after[i]}",
            f"  owner wanted {test[i].reference}",
            "",
        ]
    return "\n".join(lines)


def _facts(facts: Sequence[Row], known: Sequence[Sequence[str]], before: Sequence[str], after: Sequence[str]) -> str:
    """What it knows of her now; every third fact's question with both answers, known or not."""
    lines = [f"Facts about Emily that it knows now, asked in new words: {', '.join(known[-1]) or 'none'}", ""]
    for i in range(0, len(facts), 3):
        lines += [facts[i]["question"], f"  before  {clip(before[i], 100)}"]
        if after:
            lines += [f"  after   {clip(after[i], 100)}"]
    return "\n".join(lines) + "\n"


def _draw(path: Path, result: Row, log: Log) -> Path | None:
    points = [(0, result["rouge1_before"]), *((done["seen"], done["rouge1"]) for done in result["rounds"])]
    floor = {"echo": result["floor_echo"], "constant answer": result["floor_constant"]}
    try:
        learning_curve(path, points, result["facts_known"], result["facts"], floor)
    except ImportError:
        log("no picture: matplotlib is missing; pip install 'edgepers[plot]'")
        return None
    except (ValueError, OSError) as error:
        raise StreamError(f"{path}: the picture could not be drawn ({error})") from error
    return path
