"""A round goes on from what is published: it learns what is new and reviews the rest."""

import pytest

from edgepers import DialogueSet, Personalizer
from edgepers.config import Settings
from edgepers.rounds import job as job_module
from edgepers.rounds.training_data import TrainingData
from edgepers.state.forget import find, forget

SETS = [DialogueSet(f"What is my {word} called?", "I see.", f"Your {word} is called {name}.") for word, name in (
    ("dog", "Moon"), ("cat", "Ash"), ("boat", "Wren"), ("horse", "Pip"), ("sister", "Ada"), ("brother", "Max"),
)]  # fmt: skip
QUICK = {"annotations": "gold", "storage": 64_000, "steps": 3, "rehearsal": 0, "untold": 0, "guard": False}


class Watched:
    """What training was given, round by round."""

    def __init__(self, monkeypatch):
        self.calls = []
        real = job_module.learn

        def learn(llm, settings, pairs, folder, on_step, **options):
            self.calls.append((list(pairs), options["start"], options["new"]))
            return real(llm, settings, pairs, folder, on_step, **options)

        monkeypatch.setattr(job_module, "learn", learn)


@pytest.fixture
def owner(tmp_path, llm):
    with Personalizer(tmp_path / "state", Settings.make(QUICK), llm=llm, source=lambda _: None) as owner:
        owner.select(SETS)
        yield owner


def judge(owner, words, round_number, answer=None):
    for kept in list(owner.buffer):
        if any(f" {word} " in kept.question for word in words):
            wanted = next(one.reference for one in SETS if one.question == kept.question)
            owner.selector.annotate(kept.position, answer or wanted, round_number)


def test_the_second_round_learns_what_is_new_and_reviews_the_first_ones_sets(owner, monkeypatch):
    watched = Watched(monkeypatch)
    judge(owner, ("dog", "cat"), 1)
    first = owner.train()
    judge(owner, ("boat",), 2)
    second = owner.train()
    (pairs, start, new), (more, from_first, learned_anew) = watched.calls
    assert (start, new) == (None, 2)
    assert (from_first.name, learned_anew) == ("0001", 1)
    assert more == [("What is my boat called?", "Your boat is called Wren."), *pairs]
    assert (first["start"], second["start"], first["new_sets"], second["new_sets"]) == (None, "0001", 2, 1)
    assert second["inherited"] == first["trained_on"]
    assert set(second["trained_on"]) > set(first["trained_on"])


def test_a_verdict_that_has_changed_is_learned_anew(owner):
    judge(owner, ("dog", "cat"), 1)
    done = owner.train()
    judge(owner, ("dog",), 2, "Your dog is called Rex.")
    lessons = TrainingData.of(owner.state, owner.buffer).lessons(done)
    assert (lessons.new, lessons.pairs[0]) == (1, ("What is my dog called?", "Your dog is called Rex."))


def test_where_nothing_is_new_or_the_adapter_is_another_kind_a_round_starts_afresh(owner, monkeypatch):
    watched = Watched(monkeypatch)
    judge(owner, ("dog", "cat"), 1)
    owner.train()
    owner.train()
    judge(owner, ("boat",), 3)
    owner.settings = Settings.make(QUICK | {"lora_rank": 4})
    owner.train()
    judge(owner, ("horse",), 4)
    owner.settings = Settings.make(QUICK | {"lora_rank": 4, "review": 0})
    owner.train()
    assert [(len(pairs), start, new) for pairs, start, new in watched.calls] == [
        (2, None, 2), (2, None, 2), (3, None, 3), (4, None, 4),
    ]  # fmt: skip


def test_what_an_adapter_went_on_from_is_forgotten_with_it(owner):
    judge(owner, ("dog", "cat"), 1)
    owner.train()
    judge(owner, ("boat",), 2)
    owner.train()
    dog = find(owner.buffer, matching="dog")
    done = forget(owner.state, owner.buffer, dog)
    assert (done["withdrawn"], done["published"]) == (["0001", "0002"], None)
    judge(owner, ("horse",), 3)
    assert owner.train()["start"] is None
