"""Everything that can happen to a selector and its buffer, in any order."""

import os
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgepers.config import POLICIES
from edgepers.select.index import Index
from edgepers.select.selector import Selector
from edgepers.state.buffer import Buffer
from edgepers.state.embedding import stored_width
from edgepers.streams import Arrival, Cursor, DialogueSet
from tests.conftest import WordEncoder

WORDS = "river cake doctor engine music rain dog tax window school paris novel".split()


class Lossy(WordEncoder):
    """With a loss for each response, as the policy of that name needs it."""

    def losses(self, pairs, *, adapter=True):
        return [len(question) % 7 / 3 for question, _ in pairs]


class Life(RuleBasedStateMachine):
    """A state's life beside a plain model of it: which sets are there, and what was answered about them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.storage, self.policy = 64_000, "quality"
        self.references: dict[int, str | None] = {}
        self.encoder = Lossy()
        self._open()

    def _open(self) -> None:
        self.buffer = Buffer(self.folder / "state", self.storage)
        self.selector = Selector(self.buffer, self.encoder, policy=self.policy)
        self.references = {k.position: self.references.get(k.position) for k in self.buffer}

    def teardown(self) -> None:
        self.buffer.close()
        shutil.rmtree(self.folder)

    @rule(sizes=st.lists(st.integers(1, 900), min_size=1, max_size=6), seed=st.integers(0, 2**20))
    def offer(self, sizes, seed):
        rng = random.Random(seed)
        first = self.buffer.progress.position
        sets = [
            DialogueSet(" ".join(rng.choice(WORDS) + str(rng.randrange(50)) for _ in range(n)), "yes") for n in sizes
        ]
        here = Cursor(0, 0)
        for decision in self.selector.offer([Arrival(dialogue, here, here) for dialogue in sets], first):
            if decision.admitted:
                self.references[decision.position] = None
                for position in decision.evicted:
                    del self.references[position]

    @rule(which=st.lists(st.sampled_from(["My dog?", "my dog", "My cat, please?", "My cat", "A car"]), max_size=6))
    def ask_again(self, which):
        here = Cursor(0, 0)
        for question in which:
            for decision in self.selector.offer([Arrival(DialogueSet(question, "yes"), here, here)]):
                if decision.admitted:
                    self.references[decision.position] = None
                    for position in decision.evicted:
                        del self.references[position]

    @precondition(lambda self: self.references)
    @rule(data=st.data())
    def doubt(self, data):
        position = data.draw(st.sampled_from(sorted(self.references)))
        self.buffer.doubt(position)

    @precondition(lambda self: self.references)
    @rule(data=st.data(), verdict=st.booleans())
    def judge_repeat_and_undo(self, data, verdict):
        before = self.buffer.get(data.draw(st.sampled_from(sorted(self.references))))
        if verdict:
            self.annotate_as(before.position, "No, Moon.")
        else:
            self.selector.mark_asked(before.position, 1)
            self.references = {k.position: self.references[k.position] for k in self.buffer}
        self.ask_again([before.question] if len(before.question) < 20 else [])
        if before.position in self.references:
            counted = self.buffer.get(before.position)
            if self.selector.take_back(before):
                self.references = {k.position: self.references[k.position] for k in self.buffer}
                self.references[before.position] = before.reference
                after = self.buffer.get(before.position)
                assert (after.repeats, after.doubted) == (counted.repeats, counted.doubted)

    @precondition(lambda self: self.references)
    @rule(data=st.data(), words=st.integers(1, 300))
    def annotate(self, data, words):
        position = data.draw(st.sampled_from(sorted(self.references)))
        self.annotate_as(position, " ".join(f"{WORDS[i % 12]}{i}" for i in range(words)))

    def annotate_as(self, position, reference):
        if not self.selector.annotate(position, reference, 1):
            self.references = {k.position: self.references[k.position] for k in self.buffer}
            self.references[position] = reference

    @precondition(lambda self: self.references)
    @rule(data=st.data())
    def forget(self, data):
        gone = data.draw(st.lists(st.sampled_from(sorted(self.references)), min_size=1, max_size=3, unique=True))
        self.buffer.forget(gone, self.buffer.progress)
        if data.draw(st.booleans()):
            self.buffer.rotate()
        self.selector.reload()
        for position in gone:
            del self.references[position]

    @rule(storage=st.sampled_from([56_000, 64_000, 90_000]), policy=st.sampled_from(POLICIES))
    def reopen(self, storage, policy):
        self.buffer.close()
        self.storage, self.policy = storage, policy
        annotated = {p for p, reference in self.references.items() if reference is not None}
        self._open()
        left = set(self.references)
        assert annotated <= left or left <= annotated, "what the owner judged leaves last"

    @invariant()
    def laws(self):
        progress = self.buffer.progress
        assert self.buffer.disk_bytes() <= self.storage
        kept = {k.position: k.reference for k in self.buffer}
        assert kept == self.references
        assert len(kept) == progress.admitted - progress.evicted - progress.forgotten
        assert progress.position == progress.admitted + sum(progress.dropped.values())
        fresh = Index(stored_width(self.encoder.hidden_size), self.buffer).kept()
        used = self.selector._index.kept()
        columns = ("position", "entropy", "domain_score", "dissimilarity", "annotated", "embedding", "repeats", "loss")
        for name in (*columns, "stored_bytes", "characters"):
            assert np.array_equal(getattr(fresh, name), getattr(used, name), equal_nan=False), name
        assert np.array_equal(fresh.likeness.follow(fresh.embedding), used.likeness.follow(used.embedding))
        assert fresh.repeats.sum() <= progress.dropped.get("repeat", 0)


@pytest.fixture(autouse=True)
def _keys(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert os.environ["XDG_CONFIG_HOME"]


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=10, stateful_step_count=30, deadline=None, phases=[Phase.generate])
