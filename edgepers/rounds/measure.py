"""What a state's models score on held-out sets: the base model once, each round's, and the published one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edgepers.evaluate.evaluator import Evaluation, evaluate, floors, test_digest
from edgepers.meter.ledger import Ledger
from edgepers.model.language_model import LanguageModel
from edgepers.rounds.listener import Listener
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State
from edgepers.streams import DialogueSet

__all__ = ["HeldOutScores"]


@dataclass(frozen=True)
class HeldOutScores:
    """One state's models, to be used and measured; what the base model scored is kept in the buffer's progress.

    What a model answered to the test set that was measured last is remembered: it is not asked twice.
    """

    llm: LanguageModel
    state: State
    buffer: Buffer
    energy: Ledger
    listener: Listener
    _answered: dict[tuple[str, str], Evaluation] = field(default_factory=dict, repr=False)

    def _evaluated(self, test: Sequence[DialogueSet], adapter: str) -> Evaluation:
        """What the model scores with an adapter, by its name; "" is none."""
        key = (test_digest(test), adapter)
        if key not in self._answered:
            for other in [other for other in self._answered if other[0] != key[0]]:
                del self._answered[other]
            if adapter:
                self.llm.use_adapter(self.state.published_folder(adapter))
            self._answered[key] = evaluate(self.llm, test, adapter=bool(adapter))
        return self._answered[key]

    def answers(self, test: Sequence[DialogueSet], *, adapter: bool = True) -> tuple[str, ...]:
        """What the published model answers to a test set; `adapter=False`: the base model."""
        with self.energy.stage("evaluate"):
            return self._evaluated(test, self.buffer.progress.published if adapter else "").answers

    def base(self, test: Sequence[DialogueSet]) -> None:
        """Measure the base model once for a test set."""
        if not test or self.buffer.progress.tested_on == test_digest(test):
            return
        self.listener.stage("evaluate", 0)
        with self.energy.stage("evaluate"):
            rouge1 = self._evaluated(test, "").rouge1
        with self.buffer.lock:
            self.buffer.save(self.buffer.progress.base_measured(rouge1, test_digest(test)))

    def after_round(self, number: int, adapter: str, test: Sequence[DialogueSet]) -> float | None:
        """ROUGE-1 with the adapter that a round leaves published; None without a test set."""
        if not test:
            return None
        self.listener.stage("evaluate", number)
        with self.energy.stage("evaluate"):
            return self._evaluated(test, adapter).rouge1

    def evaluate(self, test: Sequence[DialogueSet]) -> dict[str, Any]:
        """ROUGE-1 of the base model and of the published one, with its answers, beside what knowing nothing scores."""
        self.base(test)
        with self.energy.stage("evaluate"):
            now = self._evaluated(test, self.buffer.progress.published)
        return {
            "questions": len(test),
            "rouge1_before": self.buffer.progress.rouge1_before,
            "rouge1_after": now.rouge1,
            **self._floors(test),
            "adapter": self.buffer.progress.published or None,
            "answers": [
                {"question": dialogue.question, "answer": answer, "reference": dialogue.reference}
                for dialogue, answer in zip(test, now.answers, strict=True)
            ],
        }

    def reported(self, test: Sequence[DialogueSet]) -> dict[str, Any]:
        """Return `rouge1_after` and the floors for a state's report.

        They are measured only where the last round did not measure this test set.
        """
        rounds = self.state.round_reports(self.buffer.progress.rounds)
        same = [r["rouge1"] for r in rounds if r["tested_on"] == test_digest(test) and r["rouge1"] is not None]
        if same and rounds[-1]["tested_on"] == test_digest(test):
            after = same[-1]
        else:
            with self.energy.stage("evaluate"):
                after = self._evaluated(test, self.buffer.progress.published).rouge1
        return {"rouge1_after": after, **self._floors(test)}

    def _floors(self, test: Sequence[DialogueSet]) -> dict[str, float | None]:
        floor = floors(test, [kept.wanted for kept in self.buffer.annotated() if not kept.rejected])
        return {"floor_echo": floor.echo, "floor_constant": floor.constant}
