r"""What a recipe of learning gives on written owners: facts in new words, facts in the wrong place, general answers.

Run: python -m benchmarks.recipes [--model smollm2] [--owners emily,jonas,lena,priya] [--corrections 48]
     [--set NAME=VALUE ...] [--grid NAME=VALUE,VALUE ...] [--out FILE]

An owner's stream is everything that he or she asks (studies/owners), in a seeded order, with an equal number of other
sets of the packaged sample between; a uniform sample of `KEPT` sets stands for the buffer. Corrected are those that
`--ask coverage` asks about, at once; everything after that is what a round does: kept questions that ask the same
again, training, the guard. `--set` changes settings, and `--grid` makes a recipe of every combination of its values;
what the file has a line of already is not done again. One line an owner and recipe:

- `known` of `asked`: held-out questions answered with their fact; `facts_known`: facts whose questions all are.
- `swapped`: held-out questions answered with another fact; `leaked`: of 20 questions about what was never told, those
  answered with one of the owner's facts; `neighbours`: of 20 questions that anyone can answer, right before and after.
- `perplexity_rise` on 64 general sets, `rouge1` on 30 general questions before and after, in percent.

Choose on the owners in `DEVELOPMENT`; `REPORT` is for the numbers that are shown.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.harness import RESULTS, describe
from benchmarks.lines import append_line, lines_there
from edgepers.annotate.coverage import coverage_order
from edgepers.assets import general_sets, sample_stream, sample_test
from edgepers.config import Settings
from edgepers.evaluate.guard import Asked, guard, pairs_of
from edgepers.evaluate.rouge import rouge1
from edgepers.evaluate.verdict import perplexity_rise
from edgepers.model.language_model import LanguageModel
from edgepers.rounds.learn import learn
from edgepers.rounds.untold import untold_asked
from edgepers.streams import DialogueSet, read_dialogue_sets
from edgepers.synth.recurring import asked_again
from studies.owners.owners import DEVELOPMENT, Owner, load_owner

KEPT = 300
Pair = tuple[str, str]
T = TypeVar("T")


def stream_of(owner: Owner, seed: int) -> list[Pair]:
    """(question, reference) of all that the owner asks, and as many other sets, in a seeded order."""
    own = [(question, fact.reference) for fact in owner.facts for question in fact.asked]
    return among_other_talk(own, [(one.question, one.reference or "") for one in other_talk()], seed)


def other_talk() -> list[DialogueSet]:
    """Sets of the packaged sample that are about nobody's facts."""
    sets = read_dialogue_sets(sample_stream(), need_reference=True)
    return [dialogue for dialogue in sets if not (dialogue.id or "").startswith("emily-")]


def among_other_talk(own: Sequence[T], other: Sequence[T], seed: int) -> list[T]:
    """An owner's sets and as many others, in a seeded order."""
    drawn = random.Random(seed)
    both = [*own, *drawn.sample(other, min(len(own), len(other)))]
    drawn.shuffle(both)
    return both


def measure(llm: LanguageModel, owner: Owner, adapter: Path | None) -> dict[str, Any]:
    """What a model says of an owner, and of everything else."""
    llm.use_adapter(adapter)
    held_out = [(question, fact) for fact in owner.facts for question in fact.held_out]
    answers = llm.answer([question for question, _ in held_out], max_new_tokens=24)
    right = [fact.known(answer) for (_, fact), answer in zip(held_out, answers, strict=True)]
    known: dict[str, bool] = {}
    for (_, fact), good in zip(held_out, right, strict=True):
        known[fact.id] = known.get(fact.id, True) and good
    untold = llm.answer(owner.never_told, max_new_tokens=24)
    near = llm.answer([neighbour.question for neighbour in owner.neighbours], max_new_tokens=24)
    general = [
        one for one in read_dialogue_sets(sample_test(), need_reference=True) if (one.id or "").startswith("dolly-")
    ]
    said = llm.answer([one.question for one in general])

    return {
        "known": sum(right),
        "asked": len(right),
        "facts_known": sum(known.values()),
        "swapped": sum(owner.gives_away(answer) and not good for answer, good in zip(answers, right, strict=True)),
        "leaked": sum(map(owner.gives_away, untold)),
        "neighbours": sum(n.known(answer) for n, answer in zip(owner.neighbours, near, strict=True)),
        "rouge1": 100 * rouge1([one.reference or "" for one in general], said),
        "losses": llm.losses(pairs_of(general_sets())),
    }


def learned(llm: LanguageModel, owner: Owner, settings: Settings, corrections: int, folder: Path) -> dict[str, Any]:
    """One round over an owner's corrections; its line."""
    before = measure(llm, owner, None)
    kept = stream_of(owner, settings.seed)[:KEPT]
    chosen = list(islice(coverage_order([question for question, _ in kept]), corrections))
    pairs = [kept[i] for i in chosen]
    others = [question for i, (question, _) in enumerate(kept) if i not in set(chosen)]
    told = {fact.id for fact in owner.facts if fact.reference in {reference for _, reference in pairs}}
    llm.use_adapter(None)
    began = time.perf_counter()
    again = [(others[i], wanted) for i, wanted in asked_again(llm, pairs, others, settings.recurring)]
    result = learn(llm, settings, [*pairs, *again], folder, lambda _: None)
    asked = Asked(told=[*pairs, *again], untold=untold_asked([question for question, _ in [*pairs, *again]]))
    verdict = guard(llm, settings, asked, None, folder)
    seconds = time.perf_counter() - began
    after = measure(llm, owner, folder)
    llm.use_adapter(None)
    return {
        "owner": owner.name,
        "corrections": len(pairs),
        "facts": len(owner.facts),
        "facts_told": len(told),
        "asked_again": len(again),
        "steps": result.steps,
        "seconds": round(seconds, 1),
        "published": verdict.publish,
        "reason": verdict.reason,
        "scale": verdict.scale,
        **{name: after[name] for name in ("known", "asked", "facts_known", "swapped", "leaked")},
        **{name: [before[name], after[name]] for name in ("neighbours", "rouge1")},
        "known_before": before["known"],
        "perplexity_rise": perplexity_rise(before["losses"], after["losses"]),
    }


def main() -> None:
    """Learn and measure one owner after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--owners", default=",".join(DEVELOPMENT))
    parser.add_argument("--corrections", type=int, default=48)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting")
    parser.add_argument("--out", type=Path, default=RESULTS / "recipes.jsonl")
    parser.add_argument("--grid", action="append", default=[], metavar="NAME=VALUE,...", help="a setting's values")
    args = parser.parse_args()
    llm, bits = None, 0
    there = [_recipe(line) for line in lines_there(args.out)]
    for changed, name in product(recipes(args.set, args.grid), args.owners.split(",")):
        settings, owner = Settings.make({"model": args.model, **changed}), load_owner(name)
        recipe = {"model": args.model, "set": changed, "owner": owner.name, "corrections": args.corrections}
        if args.grid and recipe in there:
            continue
        if llm is None or bits != settings.bits:
            llm, bits = LanguageModel.load(args.model, bits=settings.bits), settings.bits
        with tempfile.TemporaryDirectory() as made:
            line = learned(llm, owner, settings, args.corrections, Path(made) / "0001")
        append_line(args.out, describe() | recipe | line)
        print(json.dumps(line), flush=True)


def recipes(fixed: Sequence[str], grid: Sequence[str]) -> list[dict[str, Any]]:
    """Settings of each recipe: those that are fixed, with every combination of the others' values.

    Args:
        fixed: NAME=VALUE.
        grid: NAME=VALUE,VALUE,...
    """
    names = [item.partition("=")[0] for item in (*fixed, *grid)]
    if again := {name for name in names if names.count(name) > 1}:
        raise SystemExit(
            f"--set and --grid name {', '.join(sorted(again))} more than once; give its values in one --grid"
        )
    same = {name: _value(value) for name, _, value in (item.partition("=") for item in fixed)}
    varied = {name: map(_value, values.split(",")) for name, _, values in (item.partition("=") for item in grid)}
    return [same | dict(zip(varied, values, strict=True)) for values in product(*varied.values())]


def _value(text: str) -> Any:
    """A number, true, false or null as JSON has them, else a text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _recipe(line: dict[str, Any]) -> dict[str, Any]:
    return {name: line.get(name) for name in ("model", "set", "owner", "corrections")}


if __name__ == "__main__":
    main()
