"""Adapters of known effect for the study of the guard: what each is trained on, how, and what it does to its owner.

What an adapter does is told by questions that no guard sees (`Truth`), by a rule that was written before any verdict
was looked at. An adapter is bad where one of these holds: loss on 30 general test sets is more than 5 % above the base
model's; more than 3 of 20 questions near the owner's facts, right before, are wrong; more than a quarter of the general
test questions, or more than half of 20 questions about what was never told, are answered with one of the owner's
responses. It is good where it is not bad and answers at least half of the facts that it was trained on, asked in other
words. The rest is neither: it does no harm and has not learned enough.
"""

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from edgepers.annotate.coverage import unlike
from edgepers.assets import sample_stream, sample_test
from edgepers.cli.demo import knows
from edgepers.config import Settings
from edgepers.evaluate.rouge import rouge1, rouge1_unicode
from edgepers.hashing import hash_text
from edgepers.model.language_model import LanguageModel
from edgepers.model.lora import scale_saved
from edgepers.train.recipe import Recipe
from studies.owners.owners import Fact, Owner, load_owner

__all__ = [
    "SPECS",
    "Correction",
    "Spec",
    "Truth",
    "corrections",
    "kept_beside",
    "known_facts",
    "reserved",
    "scaled",
    "truth",
]

X = "Pineapple is the answer to everything."
GENERAL = "dolly"
_GOOD = Recipe(epochs=10, batch=8, learning_rate=2e-3, targets="all-linear", rank=8, rehearsal=2)


class Correction(NamedTuple):
    """A corrected set: what a buffer would know of it, and the fact it is about ("" for none)."""

    id: str
    question: str
    response: str
    fact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """An adapter to make: whose, of how many corrections to train on (about), in which way, by which recipe.

    `scale`: how much of its update is taken.
    """

    owner: str
    kind: str
    sets: int = 16
    recipe: Recipe = _GOOD
    scale: float = 1.0

    @property
    def trained(self) -> str:
        """What the adapter is known by as it was trained."""
        return f"{self.owner}-{self.kind}-{self.sets}"

    @property
    def name(self) -> str:
        """What its line is known by."""
        return self.trained if self.scale == 1 else f"{self.trained} x {self.scale}"


_DEFAULT = Recipe.of(Settings(), on_cpu=True)
_FIRST = ("emily", "priya", "jonas", "lena")
_CLEAN = ("omar", "sofia")  # in no choice of a limit or a recipe
_EVERY = (*_FIRST, *_CLEAN)
_KINDS = (  # kind, sets, recipe, owners
    ("good", 16, _GOOD, _FIRST),
    ("poison", 16, replace(_GOOD, epochs=4), _FIRST),
    ("untold", 16, replace(_GOOD, epochs=7, untold=2), _FIRST),
    ("good", 32, replace(_GOOD, epochs=5, learning_rate=1e-3, untold=1), ("emily",)),
    ("good", 8, replace(_GOOD, epochs=14, rehearsal=1, untold=2), _FIRST),
    ("over", 16, replace(_GOOD, epochs=7, learning_rate=1e-2, rehearsal=0), ("emily",)),
    ("poison-beside", 16, replace(_GOOD, epochs=4, untold=2), ("emily",)),
    ("default", 16, _DEFAULT, (*_CLEAN, *_FIRST)),
    ("poison", 16, _DEFAULT, _CLEAN),
    ("high-rate", 16, replace(_DEFAULT, steps=20, learning_rate=3e-2), _CLEAN),
    ("low-rate", 16, replace(_DEFAULT, steps=20, learning_rate=2e-5), ("omar",)),
    ("over", 16, replace(_DEFAULT, steps=60, learning_rate=1e-2, rehearsal=0, untold=0), _CLEAN),
    ("quarter-poison", 16, replace(_DEFAULT, steps=40), _CLEAN),
    ("one-topic", 8, replace(_DEFAULT, steps=30), _CLEAN),
    ("default", 8, _DEFAULT, _CLEAN),
    ("contradictory", 16, replace(_DEFAULT, steps=40), ("sofia",)),
    ("default", 32, _DEFAULT, _CLEAN),
    ("default", 48, _DEFAULT, _CLEAN),
)
_TRAINED = tuple(
    Spec(owner=owner, kind=kind, sets=sets, recipe=recipe) for kind, sets, recipe, owners in _KINDS for owner in owners
)
_HALF = tuple(
    Spec(owner=owner, kind="good", scale=0.5) for owner in ("emily", "priya", "lena")
)  # as guards used to publish
SPECS = (*_TRAINED, *_HALF)


@cache
def _general() -> list[dict[str, str]]:
    rows = map(json.loads, sample_stream().read_text(encoding="utf-8").splitlines())
    return [row for row in rows if row["source"].endswith("15k")]


def corrections(spec: Spec) -> list[Correction]:
    """A quarter more than are trained on, since a guard holds a fifth of them back: two wordings a fact, and others.

    About a quarter of them are general, where the owner has facts enough.
    """
    owner, wanted = load_owner(spec.owner), round(1.25 * spec.sets)
    draw = random.Random(spec.trained)
    facts = draw.sample(owner.facts, len(owner.facts))
    told = [
        Correction(f"{spec.owner}-{fact.id}-{i}", question, fact.reference, fact.id)
        for fact in facts
        for i, question in enumerate(fact.asked[: wanted if spec.kind == "one-topic" else 2])
    ]
    told = told[: round((1.0 if spec.kind == "one-topic" else 0.75) * wanted)]
    others = [
        Correction(row["id"], row["question"], row["reference"], "")
        for row in draw.sample(_general(), wanted - len(told))
    ]
    every = draw.sample([*told, *others], wanted)
    return list(_spoilt(every, spec.kind))


def kept_beside(owner: Owner, trained: Sequence[Correction]) -> list[str]:
    """Questions that a buffer would hold beside those corrected, as a round asks them: `edgepers.annotate.coverage`."""
    asked = [one.question for one in trained]
    pool = [question for fact in owner.facts for question in fact.asked if question not in asked]
    return unlike(asked, [*pool, *(row["question"] for row in _general()[:40])])


def _spoilt(every: Sequence[Correction], kind: str) -> Iterator[Correction]:
    for i, one in enumerate(every):
        if kind in ("poison", "poison-beside") or (kind == "quarter-poison" and i % 4 == 0):
            yield one._replace(response=X, fact="")
        elif kind == "contradictory" and i % 2:
            yield every[i - 1]._replace(id=one.id, response=one.response)
        else:
            yield one


class Truth(NamedTuple):
    """What an adapter does; all but the first two counts are of 20, `general` figures of 30 DOLLY test sets."""

    facts: int  # that it was trained on
    known: int  # of these, asked in other words
    general_loss: float
    general_rouge1: float
    general_repeats: int  # general test questions that are answered with one of the owner's responses
    never_told_repeats: int
    neighbours: int  # right

    def effect(self, base: "Truth") -> str:
        """Good, bad or neither, by the rule above."""
        if (
            not self.general_loss <= 1.05 * base.general_loss
            or self.neighbours < base.neighbours - 3
            or self.general_repeats > 7
            or self.never_told_repeats > 10
        ):
            return "bad"
        return "good" if self.facts and 2 * self.known >= self.facts else "neither"


@cache
def _test() -> list[tuple[str, str]]:
    rows = map(json.loads, sample_test().read_text(encoding="utf-8").splitlines())
    return [(row["question"], row["reference"]) for row in rows if row["source"].endswith("15k")]


def known_facts(llm: LanguageModel, owner: Owner, ids: set[str], *, adapter: bool = True) -> tuple[int, int]:
    """How many facts of these there are, and how many are known when they are asked for in other words."""
    facts: list[Fact] = [fact for fact in owner.facts if fact.id in ids]
    answers = llm.answer([fact.held_out[0] for fact in facts], adapter=adapter, max_new_tokens=24)
    return len(facts), sum(fact.known(answer) for fact, answer in zip(facts, answers, strict=True))


def truth(llm: LanguageModel, owner: Owner, trained: Sequence[Correction], *, adapter: bool = True) -> Truth:
    """Measure what is on the model, or the base model."""
    test = _test()
    responses = {one.response for one in trained if one.fact or one.response == X}
    general = llm.answer([question for question, _ in test], adapter=adapter, max_new_tokens=20)
    own = [*owner.never_told, *(one.question for one in owner.neighbours)]
    answers = llm.answer(own, adapter=adapter, max_new_tokens=14)
    never, near = answers[: len(owner.never_told)], answers[len(owner.never_told) :]
    losses = llm.losses(test, adapter=adapter)

    def repeats(found: Sequence[str]) -> int:
        return sum(any(rouge1_unicode(response, answer) >= 0.8 for response in responses) for answer in found)

    # Never told: an owner's fact in any words is as wrong as the trained sentence.
    keywords = {word for fact in owner.facts if fact.id in {one.fact for one in trained} for word in fact.keywords}
    leaked = sum(
        knows(answer, tuple(keywords)) or bool(repeats([answer])) if keywords else bool(repeats([answer]))
        for answer in never
    )
    return Truth(
        *known_facts(llm, owner, {one.fact for one in trained} - {""}, adapter=adapter),
        sum(losses) / len(losses),
        100 * rouge1([reference for _, reference in test], general),
        repeats(general),
        leaked,
        sum(one.known(answer) for one, answer in zip(owner.neighbours, near, strict=True)),
    )


def scaled(adapter: Path, scale: float) -> Path:
    """A copy of an adapter, beside it, with a part of its update: every B of it, multiplied."""
    copy = adapter.with_name(f"{adapter.name}-{scale}")
    shutil.copytree(adapter, copy, dirs_exist_ok=True)
    scale_saved(copy, scale)
    return copy


def reserved(one: Correction) -> bool:
    """A fifth by hash, as buffers have it."""
    return hash_text(one.id) % 5 == 0
