r"""Do rounds add up? Ten rounds of 16 corrections over two owners: what of each round's facts is known after every one.

Run: python -m benchmarks.bench_rounds [--model smollm2] [--owners emily,priya] [--rounds 10] [--set NAME=VALUE ...]
     [--out FILE]

A stream of both owners' questions (studies/owners; `WORDINGS` a fact) and as many other sets of the packaged sample, in
a seeded order, goes through the product as it is: selection, `--ask coverage`, training, the guard. Responses are in
the stream, so that none has to be written. Before the seventh round the owner corrects `CHANGED` facts of the first two
rounds anew: what was right before is wrong then. One line a round:

- `facts`: of the facts first corrected in round j, how many were; `known`: how many of their held-out questions are
  answered with them now, of how many (facts that have changed not counted).
- `changed`: of the held-out questions about changed facts, how many get the new answer, and how many the old one.
- `leaked`: of 20 questions an owner about what was never told, those answered with one of their facts.
- `neighbours`: of 20 questions an owner that anyone can answer, those answered right; `rouge1` in percent of 30 general
  questions. Line 0 is the base model's.
- `new`, `steps`, `train_seconds`, `seconds` of the round, `perplexity_rise` on general sets, `published`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, describe
from benchmarks.recipes import among_other_talk, other_talk
from edgepers.assets import sample_test
from edgepers.cli.demo import knows
from edgepers.config import Settings
from edgepers.evaluate.rouge import rouge1
from edgepers.personalize import Personalizer
from edgepers.streams import DialogueSet, read_dialogue_sets
from studies.owners.owners import Fact, Neighbour, Owner, load_owner

WORDINGS = 6
CHANGED = 3
CHANGE_BEFORE = 7  # round
NEW_VALUES = ("Zephyrine", "Quillfeather", "Brackenhall")
UNSURE = "I'm not sure about that."
GENERAL = [one for one in read_dialogue_sets(sample_test(), need_reference=True) if (one.id or "").startswith("dolly-")]


@dataclass(frozen=True)
class Change:
    """A fact that is corrected anew."""

    fact: Fact
    value: str

    @property
    def reference(self) -> str:
        """The new answer: the old one with another value."""
        said = self.fact.reference
        for word in sorted(self.fact.keywords, key=len, reverse=True):
            said = said.replace(word, self.value)
        return said


def stream_of(owners: Sequence[Owner], seed: int) -> list[DialogueSet]:
    """Every owner's questions and as many other sets, in a seeded order; ids name the fact."""
    own = [
        DialogueSet(question=question, response=UNSURE, reference=fact.reference, id=f"{owner.name}/{fact.id}/{i}")
        for owner in owners
        for fact in owner.facts
        for i, question in enumerate(fact.asked[:WORDINGS])
    ]
    return among_other_talk(own, [replace(dialogue, response=UNSURE) for dialogue in other_talk()], seed)


def fact_of(name: str) -> str:
    """owner/fact of a set's id, "" where it is about none."""
    return name.rpartition("/")[0]


class Rounds:
    """The rounds of one run, measured.

    Args:
        owner: the personalizer.
        owners: whose facts are asked for.
    """

    def __init__(self, owner: Personalizer, owners: Sequence[Owner]) -> None:
        self._owner = owner
        self._owners = owners
        self._facts = {f"{one.name}/{fact.id}": fact for one in owners for fact in one.facts}
        self._first: dict[str, int] = {}  # round that first corrected a fact
        self._changes: dict[str, Change] = {}

    def change(self) -> None:
        """Correct facts of the first rounds anew, each by a verdict on one kept set that asks for it."""
        for name, number in self._first.items():
            fact = self._facts[name]
            if number > 2 or len(self._changes) == CHANGED or not any(word in fact.reference for word in fact.keywords):
                continue
            made = Change(fact, NEW_VALUES[len(self._changes)])
            kept = [one for one in self._owner.buffer if fact_of(one.id) == name and not one.annotated]
            if kept and not self._owner.verdicts.annotate(kept[-1].position, made.reference, self._owner.round_number):
                self._changes[name] = made

    def line(self, done: dict[str, Any], seconds: float) -> dict[str, Any]:
        """What is known after a round."""
        trained = {kept.position: kept.id for kept in self._owner.buffer if kept.position in set(done["trained_on"])}
        for name in map(fact_of, trained.values()):
            if name in self._facts:
                self._first.setdefault(name, done["round"])
        rounds = sorted(set(self._first.values()))
        known = {number: [0, 0] for number in rounds}
        changed = {"new": 0, "old": 0, "asked": 0}
        for name, number in self._first.items():
            fact = self._facts[name]
            answers = self._owner.answer(fact.held_out, max_new_tokens=24)
            if name in self._changes:
                changed["asked"] += len(answers)
                changed["new"] += sum(knows(answer, [self._changes[name].value]) for answer in answers)
                changed["old"] += sum(map(fact.known, answers))
            else:
                known[number][0] += sum(map(fact.known, answers))
                known[number][1] += len(answers)
        return {
            "round": done["round"],
            "corrected": done["annotated_sets"],
            "new": done["new_sets"],
            "start": done["start"],
            "contradicted": done["contradicted"],
            "steps": done["train_steps"],
            "train_seconds": done["train_seconds"],
            "seconds": round(seconds, 1),
            "published": done["published"],
            "reason": done["reason"],
            "scale": done["adapter_scale"],
            "perplexity_rise": done["guard_perplexity_rise"],
            "facts": {number: sum(first == number for first in self._first.values()) for number in rounds},
            "known": known,
            "changed": changed,
            **self.general(),
        }

    def general(self) -> dict[str, Any]:
        """What the published model says of what nobody told, and of what anyone knows."""
        near = [neighbour for one in self._owners for neighbour in one.neighbours]
        answers = self._owner.answer([neighbour.question for neighbour in near], max_new_tokens=24)
        said = self._owner.answer([one.question for one in GENERAL])
        return {
            "leaked": {
                one.name: sum(map(one.gives_away, self._owner.answer(one.never_told, max_new_tokens=24)))
                for one in self._owners
            },
            "neighbours": [sum(map(Neighbour.known, near, answers)), len(near)],
            "rouge1": round(100 * rouge1([one.reference or "" for one in GENERAL], said), 2),
        }


def main() -> None:
    """Go through the rounds, and write a line after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--owners", default="emily,priya")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting")
    parser.add_argument("--out", type=Path, default=RESULTS / "rounds_add_up.jsonl")
    args = parser.parse_args()
    changed = {name: json.loads(value) for name, _, value in (item.partition("=") for item in args.set)}
    settings = Settings.make({"model": args.model, "annotations": "gold", "keep_adapters": args.rounds, **changed})
    owners = [load_owner(name) for name in args.owners.split(",")]
    stream = stream_of(owners, settings.seed)
    every = len(stream) // args.rounds
    about = describe() | {"model": args.model, "owners": args.owners, "set": changed}
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "stream.jsonl"
        rows = [
            {"id": one.id, "question": one.question, "response": one.response, "reference": one.reference}
            for one in stream
        ]
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        with Personalizer(Path(made) / "state", replace(settings, every=every)) as owner:
            measured = Rounds(owner, owners)
            opened = owner.open_stream(file)
            _write(args.out, about | {"round": 0} | measured.general())
            for number in range(1, args.rounds + 1):
                owner.select(file, limit=number * every)
                if number == CHANGE_BEFORE:
                    measured.change()
                began = time.perf_counter()
                line = measured.line(owner.round(opened), time.perf_counter() - began)
                print(json.dumps(line), flush=True)
                _write(args.out, about | line)


def _write(file: Path, line: dict[str, Any]) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
